/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text from an answer of rmemd (docs/ADMIN.md): a pure function of the answer and the view, so that
 * the same answer always gives the same bytes. Ages come from the answer, never from a clock here.
 */
#ifndef RMEM_CTL_RENDER_H
#define RMEM_CTL_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/errinfo.h"
#include "ctl/kind.h"

enum report {
	REPORT_STATUS,
	REPORT_LEAKS,
	REPORT_SESSIONS,
	REPORT_MAP,
	REPORT_WHO_HOLDS,
	REPORT_NUMASTAT,
	REPORT_BUDDYINFO,
	REPORT_SLABINFO,
	REPORT_AUDIT,
	REPORT_EVICT,
	REPORT_REVOKE,
	REPORT_RECLAIM,
	REPORT_RESIZE,
	REPORT_QUOTA,
	REPORT_LOG_LEVEL,
	REPORT_COMMANDS, /* the others are options of leaks */
	REPORT_RECLAIMED = REPORT_COMMANDS,
	REPORT_ACKNOWLEDGE,
	REPORTS
};

const char *report_words(enum report report);   /* "leaks --reclaimed": on the command line */
const char *report_request(enum report report); /* "reclaimed": the "cmd" that asks for it */
const char *report_answer(enum report report);  /* "reclaimed": the "report" of its answer */

/* What of a report is shown. It changes no verdict. Records are left out before: select.h. */
struct view {
	unsigned kinds;                          /* leaks: bits of enum kind */
	const char *session, *job, *host, *site; /* only theirs; NULL: anybody's */
	uint64_t uid;
	bool has_uid;
	const char *sort; /* NULL: as the server sorts */
	/* sessions: names with commas between, or "wide"; NULL: the usual ones */
	const char *columns;
	uint64_t limit;     /* records, lines, blocks at most; 0: all */
	uint64_t older_ms;  /* only what has an allocation of at least that age */
	uint64_t min_bytes; /* only what has at least so many bytes */
	int node;           /* -1: all */
	bool audit;         /* leaks: one was asked for */
	bool blocks;        /* map: list them */
	uint64_t line;      /* acknowledge: the line of history that was; VIEW_EVERY_LINE */
};
#define VIEW_EVERY_LINE 0 /* no line's id */
#define VIEW_INIT \
	{ \
		.kinds = KINDS_DEFAULT, .node = -1, .line = VIEW_EVERY_LINE \
	}

/* Can sessions be shown with these columns? */
bool render_knows_columns(const char *list);

/*
 * Print answer, which must be one that reply_check() likes, to out; nothing is printed on failure.
 * -EBADMSG: a field is missing or of the wrong type; -ENOMEM.
 */
int render_report(enum report report, const json_t *answer, const struct view *view, FILE *out,
	struct errinfo *errinfo);

#endif
