/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long work in slices, so that no peer waits for another's clean-up: tearing connections down,
 * reclaiming the memory of sessions that are gone, wiping. The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_REAPER_H
#define RMEM_SERVER_LEASE_REAPER_H

#include "server/server.h"

int reaper_start(struct server *s);
void reaper_stop(struct server *s);

/* There is something to do; it starts when the loop comes round. */
void reaper_wake(struct server *s);

/* Tear this CLOSING connection down now, to the end: for a server that stops, which nobody waits for. */
void reaper_finish_connection(struct server *s, struct connection *c);

/* Take a session's memory back, and say in the log why: it must have no connection. */
void reaper_reclaim(struct server *s, struct session *session, const char *why);

/* What the policy takes back by itself as time passes. */
void reaper_tick(struct server *s, uint64_t now_ns);

#endif
