/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long work in slices, so that no peer waits for another's clean-up: tearing connections down, taking back the memory
 * of sessions that are gone, wiping. The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_REAPER_H
#define RMEM_SERVER_LEASE_REAPER_H

#include <stdint.h>

struct access;
struct event_base;
struct net;
struct pool;
struct reclaim;
struct work;

struct reaper {
	struct net *net;
	struct pool *pool;
	struct access *access;
	struct reclaim *reclaim;
	struct work *work;
};

/* Makes the event of r->work; all else in *r is set, and stays where it is. -ENOMEM. */
int reaper_start(struct reaper *r, struct event_base *base);
void reaper_stop(struct reaper *r); /* one that was not started is fine */

/* now_ns: server time. */
void reaper_tick(struct reaper *r, uint64_t now_ns);

#endif
