/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking memory back when an allocation finds no room: from sessions that are provably gone, the earliest death first,
 * then from those whose lease is over, in the same order. No session with a connection loses anything. What is taken
 * leaves a line of history (server/ledger/history.h). The event loop only.
 *
 * An allocation without room waits on reclaim.room, and is tried again after each slice of long work:
 *
 *	memory that was taken is still on its way back		it waits, as long as blocks are wiped
 *	as many bytes as it asks for are, from elsewhere	it waits for them; fragmentation may make them useless, so
 *								after a second the next sessions are taken
 *	neither							the next sessions in order lose theirs, until there are as
 *								many bytes
 *	... and nothing is left to take				it waits 2 s for what is on its way back, and for sessions
 *								that may be leaving
 *
 * After half a minute it is refused.
 */
#ifndef RMEM_SERVER_LEASE_RECLAIM_H
#define RMEM_SERVER_LEASE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"

struct access;
struct history;
struct leases;
struct session;
struct sites;
struct wait;
struct wish;
struct work;

struct reclaim {
	struct leases *leases;
	struct access *access;
	struct history *history;
	const struct sites *sites;
	const struct work *work;
	struct wait *room;      /* waits for memory, longest first */
	struct session *taking; /* sessions whose blocks are being given up, in order */
	uint64_t taking_bytes[ADDR_MAX_NODES]; /* theirs, of blocks that are not given up yet */
	bool expecting;         /* some of what was taken for want of room is not free yet */
	uint64_t took_ns;       /* when that was taken; boot clock, like the next two */
	uint64_t progress_ns;   /* when something was wiped since, at the latest */
	uint64_t checked_ns;    /* when holders were last looked at for want of room */
	uint64_t wipes_seen;    /* of pool->wipes */
	uint64_t blocks, bytes; /* taken back so far */
};

/*
 * There is no room for the wish. True: it may have room soon; wait on r->room. False: it must be refused, because nothing
 * that may be taken is left, or it has waited long enough.
 */
bool reclaim_seek(struct reclaim *r, const struct wish *wish);

/* A slice of what is being taken back. True: there is more. */
bool reclaim_some(struct reclaim *r);

/* Try those that wait for memory again. */
void reclaim_retry(struct reclaim *r);

/* What the policy takes back by itself as time passes. now_ns: server time. */
void reclaim_tick(struct reclaim *r, uint64_t now_ns);

#endif
