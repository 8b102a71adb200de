/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves the bytes of a plan over one connection with one-sided work requests, and single words.
 *
 * How local bytes travel, in the order of preference:
 *	inline		a write that the device carries inside the request: no memory is looked at
 *			later
 *	in place	pieces inside registered buffers, whatever their length: no copy
 *	pinned		long pieces elsewhere are registered for the call
 *	slot		what is left is copied through a little registered memory, one slot per request
 * Pieces that are neighbours on the remote side share a request where they travel alike. The requests
 * of a window are posted together, and one in so many of them is signaled: a queue pair works in
 * order, so its completion stands for those before it, and one that fails completes in any case.
 *
 * The caller is the connection's sender (common/endpoint.h) for the time of a call.
 */
#ifndef RMEM_CLIENT_TRANSFER_H
#define RMEM_CLIENT_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "client/buffers.h"
#include "client/plan.h"
#include "common/endpoint.h"
#include "common/why.h"

struct transfer;

/* buffers: those of the session; they stay as they are during a call. */
int transfer_create(const struct buffers *buffers, struct transfer **out, struct why *why);
void transfer_destroy(struct transfer *t); /* detached; NULL is fine */

/* Use this connection from now on / let go of it, before it is destroyed. */
int transfer_attach(struct transfer *t, struct endpoint *ep, struct why *why);
void transfer_detach(struct transfer *t);
/* Detached: let go of the protection domain too. */
void transfer_leave_domain(struct transfer *t);

/*
 * The key for a remote range: 0; -EAGAIN if there is none for this connection yet; or why the range
 * cannot be used.
 */
typedef int transfer_key_fn(
	void *ctx, uint64_t addr, size_t bytes, uint32_t *out_rkey, struct why *why);

enum transfer_direction { TRANSFER_READ, TRANSFER_WRITE };

/*
 * Move at most about budget bytes of the plan, and the plan's position over what has been moved.
 * Returns 0, what key() returned, -EACCES if the server's device refused, -ECONNRESET.
 */
int transfer_run(struct transfer *t, enum transfer_direction direction, struct plan *plan,
	size_t budget, transfer_key_fn *key, void *ctx, struct why *why);

/* Write one 64-bit word in host byte order. */
int transfer_put_word(
	struct transfer *t, uint64_t addr, uint32_t rkey, uint64_t value, struct why *why);

/* An atomic operation on one aligned 64-bit word: what is there + add, or desired if expected is. */
struct transfer_atomic {
	enum ibv_wr_opcode opcode; /* IBV_WR_ATOMIC_FETCH_AND_ADD or IBV_WR_ATOMIC_CMP_AND_SWP */
	uint64_t add_or_expected, desired;
};

/*
 * 0 and the old value. -EOPNOTSUPP (a device cannot), -EACCES, -ECONNRESET: surely not carried out.
 * -EREMOTEIO: unknown.
 */
int transfer_atomic(struct transfer *t, const struct transfer_atomic *a, uint64_t addr,
	uint32_t rkey, uint64_t *out_old, struct why *why);

/* What has happened since transfer_create(), over all connections. */
void transfer_stats(const struct transfer *t, struct rmem_stats *out);

#endif
