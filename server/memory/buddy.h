/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buddy allocator over one arena: offsets only, the memory itself is never touched (Knowlton 1965;
 * Knuth, TAOCP 1, 2.5). Blocks are powers of two from BLOCK_MIN_BYTES up to BLOCK_MAX_BYTES, aligned
 * to their size. The arena's size is any multiple of BLOCK_MIN_BYTES. Of the free blocks of an
 * order the lowest offset is taken first, so the same calls always give the same offsets.
 *
 * Pure; one thread. All memory is taken in buddy_create(); every other call is O(log size).
 */
#ifndef RMEM_SERVER_MEMORY_BUDDY_H
#define RMEM_SERVER_MEMORY_BUDDY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/block.h"

struct buddy;

/* -EINVAL if size_bytes is 0 or no multiple of BLOCK_MIN_BYTES, -ENOMEM. */
int buddy_create(uint64_t size_bytes, struct buddy **out);
void buddy_destroy(struct buddy *b); /* NULL is fine */

/* The block size that serves bytes (1 … BLOCK_MAX_BYTES), or 0 if none does. */
uint64_t buddy_block_bytes(uint64_t bytes);

/* Offsets from start up to, and without, end. */
struct buddy_range {
	uint64_t start, end;
};

/* Take a block for bytes. -EINVAL for 0, -EFBIG above BLOCK_MAX_BYTES, -ENOSPC. */
int buddy_alloc(struct buddy *b, uint64_t bytes, uint64_t *out_offset);

/* ... that has no byte in any of the ranges. O(n * log size). */
int buddy_alloc_outside(struct buddy *b, uint64_t bytes, const struct buddy_range avoid[],
	unsigned n, uint64_t *out_offset);
/* Would it find one? */
bool buddy_has_room(
	const struct buddy *b, uint64_t bytes, const struct buddy_range avoid[], unsigned n);

/* Take exactly this block (recovery). -EINVAL if misaligned, out of range or not wholly free. */
int buddy_reserve(struct buddy *b, uint64_t offset, uint64_t block_bytes);

/* Give a block back. -EINVAL, and nothing changed, if it is not a block that is taken. */
int buddy_free(struct buddy *b, uint64_t offset, uint64_t block_bytes);

/* The first block that is taken and begins at from or after it; false: there is none. */
bool buddy_next_taken(const struct buddy *b, uint64_t from, struct buddy_range *out);

uint64_t buddy_size_bytes(const struct buddy *b);
uint64_t buddy_free_bytes(const struct buddy *b);
uint64_t buddy_largest_free_bytes(
	const struct buddy *b); /* the largest block buddy_alloc can give */

#endif
