/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buddy allocator over one arena (Knowlton 1965; Knuth, TAOCP 1, 2.5). Works on offsets and never touches the memory.
 * A block is a run of whole pages, at most BLOCK_MAX_BYTES long and aligned to the power of two that holds it; what that
 * power of two has more stays free. The arena's size is any multiple of BLOCK_MIN_BYTES. The lowest free piece of the
 * smallest order is taken first, so the same calls give the same offsets.
 *
 * Pure; one thread. Only buddy_create() allocates memory. Other calls are O(log size) unless noted.
 */
#ifndef RMEM_SERVER_MEMORY_BUDDY_H
#define RMEM_SERVER_MEMORY_BUDDY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/block.h"

struct buddy;

#define BUDDY_ORDERS 31 /* of free pieces: BLOCK_MIN_BYTES, twice that, … BLOCK_MAX_BYTES */

/* -EINVAL if size_bytes is 0 or not a multiple of BLOCK_MIN_BYTES, -ENOMEM. */
int buddy_create(uint64_t size_bytes, struct buddy **out);
void buddy_destroy(struct buddy *b); /* NULL is fine */

/* Offsets [start, end). */
struct buddy_range {
	uint64_t start, end;
};

/* Take a block for bytes. -EINVAL for 0, -EFBIG above BLOCK_MAX_BYTES, -ENOSPC. */
int buddy_alloc(struct buddy *b, uint64_t bytes, uint64_t *out_offset);

/* Like buddy_alloc(), but outside the n ranges. O((n + 1)^2 * log size). */
int buddy_alloc_outside(struct buddy *b, uint64_t bytes, const struct buddy_range avoid[],
	unsigned n, uint64_t *out_offset);
/* Take this block (recovery). -EINVAL if it is no possible block, out of range or not wholly free. */
int buddy_reserve(struct buddy *b, uint64_t offset, uint64_t block_bytes);

/* -EINVAL, and no change, if this is not a taken block. */
int buddy_free(struct buddy *b, uint64_t offset, uint64_t block_bytes);

/* The first taken block at or after offset from; false: there is none. */
bool buddy_next_taken(const struct buddy *b, uint64_t from, struct buddy_range *out);

uint64_t buddy_size_bytes(const struct buddy *b);
uint64_t buddy_free_bytes(const struct buddy *b);
/* How many free pieces of an order (below BUDDY_ORDERS) there are. */
uint64_t buddy_free_pieces(const struct buddy *b, unsigned order);
/* The largest power of two that buddy_alloc() can return now. */
uint64_t buddy_largest_free_bytes(const struct buddy *b);

#endif
