/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The history of reclaimed memory: one line per session and call site. Both records may be deleted later, so a line
 * contains everything itself. A line is news until acknowledged.
 *
 * There are at most HISTORY_MAX lines. One more replaces an acknowledged one; only if all are news does it replace the
 * oldest. A session has at most one line per call site that is news, and one for memory without a call site.
 *
 * The whole file is backed when it is opened (HISTORY_BYTES), so a line can always be written: reclaiming memory never
 * hides a leak because the file system is full.
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
#include "server/ledger/table.h"

#define HISTORY_FORMAT 1
#ifndef HISTORY_MAX /* the simulation has few */
#define HISTORY_MAX 4096
#endif
#define HISTORY_ALL 0 /* not an id of any line */

/* Stored: values are never reused. */
enum history_state { HISTORY_NONE = 0, HISTORY_NEWS = 1, HISTORY_ACKNOWLEDGED = 2 };

struct history_line {
	uint32_t state;         /* enum history_state; written last */
	uint32_t session_state; /* enum session_state when the line began */
	uint32_t evidence;      /* enum holder_evidence when the line began */
	uint32_t nframes;       /* number of frames below; 0: site or names unknown */
	uint64_t id;            /* ascending, never 0; modulo HISTORY_MAX it is the slot */
	uint64_t session_serial;
	uint64_t site_hash; /* 0: unknown */
	uint64_t since_ns;  /* when the session entered that state; server time, as below */
	uint64_t check;     /* checksum over identity and all fields above but state */
	uint64_t taken_ns;  /* when the last block was reclaimed */
	uint64_t born_ns;   /* birth of the oldest block */
	uint64_t blocks, bytes, block_bytes;
	struct identity identity;
	struct stored_name frames[3]; /* innermost first */
};

struct history;

#define HISTORY_BYTES (TABLE_HEADER_BYTES + HISTORY_MAX * sizeof(struct history_line))

/*
 * Clears invalid lines; replaces what is not a history, as table_open_or_replace().
 * ERRORS: of that; -ENOMEM; -ENOSPC: the file system has no room for the whole file. A file that was not there is
 * deleted again.
 */
int history_open(struct history **out, int dir, const char *name);
void history_close(struct history *h); /* NULL is fine */

/* Lines that history_open() cleared; a file that it replaced counts as one. NULL is fine. */
uint32_t history_rejected(const struct history *h);

/*
 * No session gets a serial number that a line has: the other tables may be newer than the history, and a line is found by
 * serial number. Call before the first sessions_add().
 */
void history_reserve_serials(const struct history *h, struct sessions *sessions);

/* What a session loses. */
struct history_loss {
	uint64_t blocks, bytes, block_bytes;
	uint64_t born_ns; /* the oldest */
};

/* Record that this, of one call site, is reclaimed from its session. Always succeeds. */
void history_note_loss(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct history_loss *loss, uint64_t now_ns);

/* The same for one allocation. */
void history_note(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct allocation *a, uint64_t now_ns);

/* For these four, NULL is an empty history. Iterate, newest first: start with *cursor = 0; NULL at the end. */
const struct history_line *history_next(const struct history *h, uint64_t *cursor);

uint32_t history_count(const struct history *h);
uint32_t history_news(const struct history *h); /* unacknowledged lines */

/*
 * The latest time in any line, or 0: when memory was reclaimed, up to limit_ns; when a session entered its state, which has
 * a checksum, up to checked_limit_ns.
 */
uint64_t history_latest_ns(const struct history *h, uint64_t limit_ns, uint64_t checked_limit_ns);

/* One line, or HISTORY_ALL. -ENOENT: no such line (any more). */
int history_acknowledge(struct history *h, uint64_t id);

#endif
