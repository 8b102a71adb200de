/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A grant: one session's access to one run of memory, on one of its queue pairs. It is a type-2 memory window
 * bound over a region, and ends before the memory can go to anybody else.
 *
 * Two protections (chosen by the probe, server/net/probe.h):
 *
 *	WINDOW	the device enforces the window's bounds. The region is the arena's; revoking is a local
 *		invalidation, and the window goes back to its connection to be bound again.
 *	REGION	the device checks only the region's bounds (rxe). The region is the grant's own, exactly
 *		as long as the memory; revoking destroys window and region, which waits for every access.
 *
 * Windows are allocated after the queue pair they will be bound on: the kernel tears a killed
 * process's objects down newest first, and a queue pair must not go while a window is bound to it.
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_GRANT_GRANT_H
#define RMEM_SERVER_GRANT_GRANT_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/ledger/ledger.h"
#include "server/net/device.h"

struct access;
struct attachment;
struct connection;

/* How far its end has come: in the server's list, seen to, or never to be confirmed. */
enum grant_end { GRANT_GIVEN, GRANT_QUEUED, GRANT_ENDING, GRANT_STUCK };

struct grant {
	const struct allocation *allocation; /* NULL: the session's line of the heartbeat page */
	uint64_t offset, bytes; /* what of the allocation: all, a part, or an object of a slab */
	struct access *access;  /* NULL as well then */
	struct connection *connection; /* that it was bound on, and works on */
	struct ibv_mr *own_region;     /* REGION mode */
	struct ibv_mw *window;
	uint32_t rkey;
	bool bound;     /* the bind was posted, and no invalidation has completed */
	bool read_only; /* the window has no right to write, nor to atomic operations */
	enum grant_end end;
	unsigned revoke_tries;             /* that failed, while its connection was reaped */
	struct grant *prev, *next;         /* of the connection */
	struct grant *end_prev, *end_next; /* of those that are queued to end */
	struct grant *of_prev, *of_next;   /* of the allocation */
	struct grant *at_prev, *at_next;   /* of the attachment */
	struct attachment *attachment;
};

struct extent {
	void *memory;
	uint64_t addr; /* what the peer calls it: the I/O virtual address */
	uint64_t bytes;
	int access; /* IBV_ACCESS_REMOTE_… of the window */
};

/*
 * Make a grant over an extent. chunk is the arena's region in WINDOW mode, NULL for a region of its
 * own. spare, if not NULL, is an unbound window to use. On failure spare is still the caller's.
 */
int grant_create(struct ibv_pd *pd, const struct extent *e, struct ibv_mr *chunk,
	struct ibv_mw *spare, struct grant **out);

/* The work request that binds the window; to be followed at once by grant_posted(). */
void grant_bind_request(const struct grant *g, const struct extent *e, struct ibv_mr *chunk,
	struct ibv_send_wr *wr);
void grant_posted(struct grant *g);

/* The work request that invalidates the window (WINDOW mode, healthy queue pair). */
void grant_invalidate_request(const struct grant *g, struct ibv_send_wr *wr);

/*
 * End it by destroying window and region, whatever state the queue pair is in. 0 means the device has
 * confirmed that nobody can reach the memory. Otherwise the objects still exist: the memory must never
 * be reused, and the grant stays valid for another try.
 */
int grant_revoke(struct grant *g);

/* Free a grant whose window was revoked, or taken over as a spare. NULL is fine. */
void grant_free(struct grant *g);

#endif
