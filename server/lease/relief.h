/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose memory is taken back when an allocation finds no room. What dead holders left is evidence, so it is
 * taken only from those without whom there would be no room, and only if there is then: this is tried out first, on
 * copies of the allocators (server/memory/outlook.h). The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_RELIEF_H
#define RMEM_SERVER_LEASE_RELIEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdint.h>

#include "server/memory/wish.h"

struct access;
struct leases;
struct reclaim;
struct wait;

/* What came of looking whose memory to take back, the last time. */
enum hope { HOPE_SOON, HOPE_LEAVING, HOPE_NONE };

struct relief {
	struct leases *leases;
	struct access *access;
	struct reclaim *reclaim;
	struct wait *room; /* who waits for memory to be taken back, longest first */
	enum hope hope;
	uint64_t bytes; /* what was asked for */
	int node;
	bool picky;            /* it was not to be just anywhere: no answer for others */
	uint64_t answer_state; /* what state was then */
	uint64_t state;        /* now, of everything that the answer depends on */
	size_t ncandidates;    /* sessions that may lose what they hold, or soon */
	uint64_t next_ns;      /* the next look is not before */
	uint64_t judge_ns;     /* nor this, looking who is dead */
};

/*
 * An allocation for which there is no room. True: there may be room soon, ask again when the reaper has come round; it may have been told whose memory to
 * take. False: nothing that may be taken would make that room, and nothing has been.
 *
 * Those provably gone lose theirs before those whose lease is over, and each kind in the order in which they went. Who
 * is first asked about is to be asked about first again: looking takes time, and there is a limit to how much.
 */
bool relief_seek(struct relief *r, const struct wish *wish);

/* Look who is gone. To be called before relief_seek(), once for all who are asked about at a time. */
void relief_survey(struct relief *r);

/* When there will be time to look again, on the boot clock; may be past. */
uint64_t relief_next_ns(const struct relief *r);

#endif
