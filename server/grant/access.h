/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who reaches an allocation: its grants, at most one on each connection of its session, and of the sessions
 * that it is shared with. A connection gets one when it asks (ATTACH), and each ends by one of three ways:
 * revoked on the spot, by an invalidation whose completion came in, or by the end of its connection. All
 * come to access_ended(); the last one of an allocation that is being given up sends it on to
 * quarantine, and only that does.
 *
 *	access_make ──▶ bound ──┬── queued ── revoked, or invalidated ──┬──▶ access_ended
 *	                        └── the connection is aborted, reaped ──┘
 *
 * Ends are queued and seen to in slices: an allocation may be shared with thousands.
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_GRANT_ACCESS_H
#define RMEM_SERVER_GRANT_ACCESS_H

#include "server/grant/grant.h"

struct server;
struct session;
struct wait;

/* The grant of this allocation on this connection, or NULL. */
struct grant *access_find(const struct connection *c, const struct allocation *a);

/* Make one, not bound yet. -ENOMEM, or what the device says. */
int access_make(struct connection *c, const struct allocation *a, struct grant **out);

/* The work request that binds it; to be followed at once by grant_posted(). */
void access_bind_request(const struct grant *g, struct ibv_send_wr *wr);

/*
 * Who waits for an allocation that is REVOKING: it ends when the last grant has, or with -EIO when the device does not
 * confirm the end of one.
 */
struct wait **access_revoked(struct server *s, const struct allocation *a);

/*
 * The allocation is REVOKING: end every grant of it, of all sessions, on connections that are going down too.
 * Those that cannot end here and now do so later; the last may end before this returns. A connection that
 * cannot revoke its own is aborted: its end tries again.
 * Returns how many there were.
 */
unsigned access_end_all(struct server *s, const struct allocation *a);

/* End those of one session. True: some are left; session->grant_ended tells of each that ends, or is stuck. */
bool access_end_of(struct server *s, const struct allocation *a, const struct session *session);

/* See to at most *budget of those that are queued. True: there is more that can be done now. */
bool access_end_some(struct server *s, unsigned *budget);

/* Has the session any on it? */
bool access_has(struct server *s, const struct allocation *a, const struct session *session);
/* ... and one whose end the device did not confirm? */
bool access_is_stuck(struct server *s, const struct allocation *a, const struct session *session);
/* How many sessions have some that are not its owner? */
unsigned access_count_others(struct server *s, const struct allocation *a);

/* The invalidation of a grant has completed. */
void access_invalidated(struct grant *g);

/* The device has confirmed that nobody reaches the memory through it. Frees the grant. */
void access_ended(struct grant *g);

/* It never will: what may still be reached is a zombie from now on. The grant stays. */
void access_bury(struct grant *g);

#endif
