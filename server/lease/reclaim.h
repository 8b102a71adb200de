/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takes memory back when an allocation finds no room: first from sessions that are provably gone, then from detached
 * sessions with an expired lease, each oldest first. Sessions with a connection lose nothing, unless an operator orders
 * it. Every loss is recorded
 * in history (server/ledger/history.h). The event loop only.
 *
 * An allocation without room waits on reclaim.room and is retried after each slice of long work:
 *
 *	memory taken for it is still on its way back	wait while the wiper makes progress
 *	too few bytes are on their way back		take from the next sessions until there are enough
 *	... and no session is left to take from		wait up to 2 s after the last taking for bytes on their way
 *							back, and for sessions that may be leaving
 *	enough bytes are on their way back		wait for them; fragmentation may make them useless, so after
 *							1 s take from the next sessions
 *
 * After 30 s the allocation is refused.
 */
#ifndef RMEM_SERVER_LEASE_RECLAIM_H
#define RMEM_SERVER_LEASE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"

struct access;
struct allocation;
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
	struct wait *room;      /* waits for memory or a session slot, in order of arrival */
	struct session *taking; /* sessions whose blocks are being given up, in order */
	/* evicted sessions with LIVE blocks whose connections are not gone yet */
	struct session *evicting;
	bool all; /* an operator orders to take from all sessions that can be taken from */
	uint64_t taking_bytes[ADDR_MAX_NODES]; /* of their blocks that are not given up yet */
	uint64_t took_ns;     /* last time that an allocation took memory; boot clock */
	uint64_t progress_ns; /* last time that the wiper was seen to make progress; boot clock */
	uint64_t checked_ns;  /* last time that an allocation had holders checked; boot clock */
	uint64_t wiped_seen_bytes; /* pool_wiped_bytes() at progress_ns */
	uint64_t blocks, bytes;    /* taken back since the start */
};

/*
 * Seek room for a wish that found none. True: room may come, wait on r->room. False: refuse the wish, because nothing
 * is left to take or it has waited too long.
 */
bool reclaim_seek(struct reclaim *r, const struct wish *wish);

/*
 * By order of an operator, for which --reclaim does not matter. All three begin now and go on in slices.
 *
 * reclaim_all(): take from all sessions that are gone, or have no connection and an expired lease.
 * reclaim_evict(): end the session's connections, then take from it. When session->drained is finished, or if it has no
 * connection, its client reaches nothing any more. -EALREADY: its memory is being taken back.
 * reclaim_revoke(): take one allocation. w is hung on access_revoked(). -EALREADY: it is being given up.
 */
void reclaim_all(struct reclaim *r);
int reclaim_evict(struct reclaim *r, struct session *session);
int reclaim_revoke(struct reclaim *r, struct session *session, const struct allocation *a,
	struct wait *w, void (*done)(struct wait *w, int result));

/* Give up one slice of the blocks that are being taken back. True: more are left. */
bool reclaim_some(struct reclaim *r);

/* Retry every request that waits on r->room. */
void reclaim_retry(struct reclaim *r);

/* Take back memory whose time is up: the courtesy, or the duration of --reclaim. now_ns: server time. */
void reclaim_tick(struct reclaim *r, uint64_t now_ns);

#endif
