/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does long work in slices, so that no peer waits for another's: tears down connections, takes back memory of gone
 * sessions, frees what the wipers have wiped, and gives one of those that wait for it (work.turns) a turn. The event
 * loop only.
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

/* Creates the event of r->work. All fields must be set, and *r must not move. -ENOMEM. */
int reaper_start(struct reaper *r, struct event_base *base);
void reaper_stop(struct reaper *r); /* a reaper that was not started is fine */

/* now_ns: server time. */
void reaper_tick(struct reaper *r, uint64_t now_ns);

#endif
