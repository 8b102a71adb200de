/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves the bytes of a plan over one connection with one-sided work requests.
 *
 * Short pieces go through a little registered memory, one slot per work request: pieces that are
 * neighbours on the remote side share a request. Long ones are registered for the call and moved in
 * place; if that cannot be done (locked-memory limit, memory that cannot be pinned) they take the
 * slots too. What a device can carry inside the request needs no memory at all.
 *
 * The caller is the connection's sender (common/endpoint.h) for the time of a call.
 */
#ifndef RMEM_CLIENT_TRANSFER_H
#define RMEM_CLIENT_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "client/plan.h"
#include "common/endpoint.h"
#include "common/why.h"

struct transfer;

int transfer_create(struct transfer **out, struct why *why);
void transfer_destroy(struct transfer *t); /* detached; NULL is fine */

/* Use this connection from now on / let go of it, before it is destroyed. */
int transfer_attach(struct transfer *t, struct endpoint *ep, struct why *why);
void transfer_detach(struct transfer *t);

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

#endif
