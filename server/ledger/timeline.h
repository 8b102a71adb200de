/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Server time: what the times in records are in, and all durations are counted by. It runs with the boot clock, so
 * nobody who sets the wall clock moves it, and it goes on where it was when rmemd is started again: a file keeps its
 * distance to the boot clock. When that clock began anew (another boot, another time namespace), it goes on from the
 * last time that was kept. What passed in between is not counted, because only the wall clock could tell.
 *
 * It begins at the wall clock's time, and is told to people by how long ago something was (report_parts.h).
 *
 * Pure but for its file (server/ledger/table.h); one thread. The clocks are passed in.
 */
#ifndef RMEM_SERVER_LEDGER_TIMELINE_H
#define RMEM_SERVER_LEDGER_TIMELINE_H

#include <stdint.h>

#include "server/ledger/ledger.h"
#include "server/ledger/sessions.h"

struct timeline;

struct timeline_clocks {
	uint8_t boot_id[16]; /* all 0: not known, and so never the same */
	uint64_t boot_clock; /* whose boot clock (identity_boot()) */
	uint64_t boot_ns;    /* what it shows */
	uint64_t real_ns;    /* timeline_beginning_ns(): only for a beginning */
};

/*
 * Where time begins if its file is lost: at the latest time that a record tells, so that nothing has become older by what
 * the wall clock did meanwhile; at the wall clock's if none does. Not every time is believed, for a forged one could make
 * everything old. Times of sessions have no checksum: none that is to come. Times of births have one: a year to come at
 * most, for the wall clock may have been set back.
 */
uint64_t timeline_beginning_ns(
	const struct sessions *sessions, const struct ledger *ledger, uint64_t wall_ns);

/*
 * A file that is damaged or of another layout is made anew, and time begins with it, at real_ns: what passed before that is
 * not counted. So it is if the file tells a time that no clock shows, after 2262. ERRORS: as table_open(), -ENOMEM.
 */
int timeline_open(
	struct timeline **out, int dir, const char *name, const struct timeline_clocks *clocks);
void timeline_close(struct timeline *t); /* NULL is fine */

/* The server time when the boot clock shows boot_ns. */
uint64_t timeline_at(const struct timeline *t, uint64_t boot_ns);

/* Remember how late it is. Once per tick: what is not kept is lost with the boot. */
void timeline_keep(struct timeline *t, uint64_t boot_ns);

#endif
