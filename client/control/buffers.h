/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Local memory that the application has had registered: data goes from and to it in place.
 *
 * The table is pure: sorted, never overlapping, nothing in it knows a device. The registrations are
 * made beside it: on a device that refuses one, or while there is no device, its buffer is in the
 * table with mr NULL, and is used like any other local memory.
 *
 * The owner locks (client/control/session.h). Pointers stay valid until the next add or remove.
 */
#ifndef RMEM_CLIENT_CONTROL_BUFFERS_H
#define RMEM_CLIENT_CONTROL_BUFFERS_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/errinfo.h"
#include "common/heap.h"

struct buffer {
	uintptr_t start;
	size_t bytes;
	/* NULL: not registered now. Only a thread that changes the table looks into it */
	struct ibv_mr *mr;
	uint32_t lkey;
	size_t mapped_bytes; /* of our own mapping at start; 0: the application's memory */
};

struct buffers {
	struct buffer *items; /* by ascending start */
	size_t count, capacity;
	struct heap *heap;
};

/* Make room for count in all, so that buffers_add() cannot fail up to there. 0 or -ENOMEM. */
int buffers_reserve(struct buffers *t, size_t count);

/* Could it be added? 0; -EINVAL: it is empty, wraps around, or overlaps another. */
int buffers_check(const struct buffers *t, const struct buffer *b, struct errinfo *errinfo);

/* Add what was reserved and checked. */
void buffers_add(struct buffers *t, const struct buffer *b);
void buffers_remove(struct buffers *t, struct buffer *b);

/* The one that starts at addr / wholly contains [addr, addr + bytes), or NULL. */
struct buffer *buffers_find(const struct buffers *t, uintptr_t addr);
struct buffer *buffers_find_range(const struct buffers *t, uintptr_t addr, size_t bytes);

/*
 * Forget them all, and unmap those that are ours. Zeroed is fine. The table itself goes with the heap: this is also
 * called in a child after fork(), where a thread of the parent may have left the heap locked.
 */
void buffers_destroy(struct buffers *t);

/*
 * Returns -ENOMEM: bytes could not be locked, or registered, for want of memory or because of the limit, and what
 * helps. else_ goes at the end of that: what helps besides.
 */
int buffers_explain_memory(size_t bytes, const char *else_, struct errinfo *errinfo);

/*
 * Register b. 0; -ENOMEM, with the remedy if it is the limit on locked memory; -EINVAL if nothing
 * writable is mapped there; or what the device says.
 */
int buffer_register(struct buffer *b, struct ibv_pd *pd, struct errinfo *errinfo);
void buffer_deregister(struct buffer *b); /* if it is */

/* Map zeroed memory for b, which has only its bytes. 0 or -ENOMEM. Unmapping leaves others alone. */
int buffer_map(struct buffer *b, struct errinfo *errinfo);
void buffer_unmap(struct buffer *b);

#endif
