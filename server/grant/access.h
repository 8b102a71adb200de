/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which sessions reach an allocation, or an object of a slab: its grants, at most one on each connection of its session, and
 * of the sessions that it is shared with; of an allocation that is longer than a window can be (pool.part_bytes), one per
 * part. A connection gets a grant when it asks (ATTACH). A grant ends in one of three ways:
 * revoked on the spot, by an invalidation that has completed, or by the end of its connection. All three
 * call access_ended(). When the last grant of an allocation that is being given up ends, the allocation goes to
 * quarantine.
 *
 *	access_make ──▶ bound ──┬── queued ── revoked, or invalidated ──┬──▶ access_ended
 *	                        └── the connection is aborted, torn down
 *
 * Ends are queued and done in slices: an allocation may be shared with thousands.
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_GRANT_ACCESS_H
#define RMEM_SERVER_GRANT_ACCESS_H

#include "server/grant/attachment.h"
#include "server/grant/grant.h"
#include "server/grant/grantee.h"

struct pool;
struct wait;
struct work;

/* Who reaches an allocation, or anything in it, by ledger slot. */
struct reach {
	struct grant *grants;
	struct wait *revoked;  /* waits for the last of them to end */
	unsigned nattachments; /* of sessions, to the allocation or to objects in it */
};

struct access {
	struct pool *pool;
	/* woken for grants that are to end, and for memory that is to be wiped */
	const struct work *work;
	struct reach *reach;
	struct attachments attachments;
	struct grant *ending; /* queued, oldest first */
	unsigned nrevoking;   /* allocations that are given up and have grants left */
};

/* The pool must be open. -ENOMEM. */
int access_open(struct access *access, struct pool *pool, const struct work *work);
void access_close(struct access *access); /* half-open is fine */

/* The grant on this connection of the part that this byte of it is in, or NULL. */
struct grant *access_find(const struct access *access, const struct connection *c,
	const struct reached *what, uint64_t offset);

/* Make one, not bound yet. -ENOMEM, or what the device says. */
int access_make(struct access *access, struct connection *c, const struct reached *what,
	uint64_t offset, bool read_only, struct grant **out);

/* The work request that binds it; to be followed at once by grant_posted(). */
void access_bind_request(
	const struct access *access, const struct grant *g, struct ibv_send_wr *wr);

/*
 * Waits for an allocation that is REVOKING: finished with 0 when its last grant has ended, with -EIO when the device does
 * not confirm the end of one.
 */
struct wait **access_revoked(struct access *access, const struct allocation *a);

/*
 * The allocation is REVOKING: end every grant of it, of all sessions, on connections that are going down too.
 * Those that cannot end here and now do so later; the last may end before this returns. A connection that
 * cannot revoke its own is aborted: its end tries again.
 * Returns how many there were.
 */
unsigned access_end_all(struct access *access, const struct allocation *a);

/* End those of one session. True: some are left; grantee->grant_ended tells of each that ends, or is stuck. */
bool access_end_of(
	struct access *access, const struct reached *what, const struct grantee *grantee);

/*
 * End those of all sessions but the owner's. NULL: none is left. Else a list for waits, which are finished with 0 when any
 * of them has ended, and with -EIO when the device does not confirm the end of one (of one that is stuck already,
 * access_others_are_stuck() tells).
 */
struct wait **access_end_others(
	struct access *access, const struct reached *what, const struct grantee *owner);
/* The same list, or NULL. */
struct wait **access_others(
	const struct access *access, const struct reached *what, const struct grantee *owner);
bool access_others_are_stuck(
	const struct access *access, const struct reached *what, const struct grantee *owner);

/* See to at most *budget of those that are queued. True: there is more that can be done now. */
bool access_end_some(struct access *access, unsigned *budget);

/* Has the session any on it? */
bool access_has(
	const struct access *access, const struct reached *what, const struct grantee *grantee);
/* ... and one whose end the device did not confirm? */
bool access_is_stuck(
	const struct access *access, const struct reached *what, const struct grantee *grantee);
/* How many sessions have some on the allocation or in it, but for its owner's on all of it? */
unsigned access_count_others(
	const struct access *access, const struct allocation *a, const struct grantee *owner);

/* The invalidation of a grant has completed. */
void access_invalidated(struct grant *g);

/* The device has confirmed that nobody reaches the memory through it. Frees the grant. */
void access_ended(struct grant *g);

/* It never will: what may still be reached is a zombie from now on. The grant stays. */
void access_mark_stuck(struct grant *g);

#endif
