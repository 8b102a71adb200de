/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long work in slices, so that no peer waits for another's clean-up: tearing connections down,
 * reclaiming the memory of sessions that are gone, wiping. The event loop only.
 */
#ifndef RMEM_SERVER_REAPER_H
#define RMEM_SERVER_REAPER_H

#include <stdbool.h>

#include "server/server.h"

int reaper_start(struct server *s);
void reaper_stop(struct server *s);

/* There is something to do; it starts when the loop comes round. */
void reaper_wake(struct server *s);

/* Tear this CLOSING connection down now, to the end: for a server that stops, which nobody waits for. */
void reaper_finish_connection(struct server *s, struct connection *c);

/* Take a session's memory back: it must have no connection. */
void reaper_reclaim(struct server *s, struct session *session);

/*
 * An allocation found no room on that node (or on any): pick whose memory is to be reclaimed next by
 * the policy. Those provably gone come first, longest gone first; then those whose lease is over.
 * False if there is nobody who holds anything there, and nothing is on its way.
 */
bool reaper_relieve(struct server *s, int node);

/* What the policy takes back by itself as time passes. */
void reaper_tick(struct server *s, uint64_t now_real_ns);

#endif
