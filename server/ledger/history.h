/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was taken back, from whom and from which call site: a line per session and site. The records of both may be gone
 * by then, so a line says all itself. The table is a ring: the newest HISTORY_MAX lines. A line is news until it has
 * been acknowledged.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_HISTORY_H
#define RMEM_SERVER_LEDGER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/ledger/allocation.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"

#define HISTORY_FORMAT 1
#define HISTORY_MAX 4096
#define HISTORY_ALL 0 /* no line's id */

/* Stored: values are never reused. */
enum history_state { HISTORY_NONE = 0, HISTORY_NEWS = 1, HISTORY_ACKNOWLEDGED = 2 };

struct history_line {
	uint32_t state;         /* enum history_state; written last */
	uint32_t session_state; /* enum session_state, when its memory was taken, and */
	uint32_t evidence;      /* enum holder_evidence */
	uint32_t nframes;       /* that are named below; 0: the site was not known */
	uint64_t id;            /* ascending, never 0 */
	uint64_t session_serial;
	uint64_t site_hash; /* 0: unknown */
	uint64_t since_ns;  /* the session has been in that state; server time, like the next two */
	uint64_t check;     /* over all above but state, and the identity */
	uint64_t taken_ns;  /* the last block */
	uint64_t born_ns;   /* the oldest block */
	uint64_t blocks, bytes, block_bytes;
	struct identity identity;
	struct site_name frames[3]; /* the innermost */
};

struct history;

/* A line that cannot be right is left out. A file that is no history is replaced. ERRORS: as table_open(), -ENOMEM. */
int history_open(struct history **out, int dir, const char *name);
void history_close(struct history *h); /* NULL is fine */

/* The memory of an allocation is taken from its session. Nothing that goes wrong with it stops that. */
void history_note(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct allocation *a, uint64_t now_ns);

/* NULL is a history without lines, for these three. Every line, the newest first: start with *cursor = 0; NULL at the end. */
const struct history_line *history_next(const struct history *h, uint64_t *cursor);

uint32_t history_count(const struct history *h);
uint32_t history_news(const struct history *h); /* lines that nobody has acknowledged */

/* One line, or HISTORY_ALL. -ENOENT: there is no such line (any more). */
int history_acknowledge(struct history *h, uint64_t id);

#endif
