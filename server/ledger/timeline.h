/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Server time: the clock for times in records and for durations. Server time advances with the boot clock, so setting
 * the wall clock does not change it. It continues when rmemd restarts: a file stores its offset to the boot clock. If
 * the boot clock restarted (reboot, another time namespace), server time continues from the last stored time. The time
 * in between is not counted, because only the wall clock could tell it.
 *
 * Server time starts at the wall clock's time. Reports show ages instead of times (report_parts.h).
 *
 * Pure but for its file (server/ledger/table.h); one thread. The clocks are passed in.
 */
#ifndef RMEM_SERVER_LEDGER_TIMELINE_H
#define RMEM_SERVER_LEDGER_TIMELINE_H

#include <stdint.h>

#include "server/ledger/history.h"
#include "server/ledger/ledger.h"
#include "server/ledger/sessions.h"

struct timeline;

struct timeline_clocks {
	uint8_t boot_id[16]; /* all 0: unknown, equal to none */
	uint64_t boot_clock; /* identifies the boot clock: identity_boot() */
	uint64_t boot_ns;    /* current boot time */
	uint64_t real_ns;    /* start of a new timeline: timeline_beginning_ns() */
};

/*
 * Start of server time if its file is lost: the latest time in any record, so wall clock changes do not increase ages;
 * wall_ns if there is none. A forged time could make everything look old, so limits apply: times without checksum (most
 * of sessions, and when memory was reclaimed) count up to wall_ns, times with checksum up to a year later, in case the
 * wall clock was set back.
 */
uint64_t timeline_beginning_ns(const struct sessions *sessions, const struct ledger *ledger,
	const struct history *history, uint64_t wall_ns);

/*
 * Server time starts at real_ns if the file has another layout (it is replaced) or no valid mark. A mark with a time
 * after 2262 is not valid.
 * ERRORS: as table_open(), -ENOMEM.
 */
int timeline_open(
	struct timeline **out, int dir, const char *name, const struct timeline_clocks *clocks);
void timeline_close(struct timeline *t); /* NULL is fine */

/* The server time when the boot clock shows boot_ns. */
uint64_t timeline_at(const struct timeline *t, uint64_t boot_ns);

/* Store the current server time. Call once per tick: a reboot loses the time since the last call. */
void timeline_keep(struct timeline *t, uint64_t boot_ns);

#endif
