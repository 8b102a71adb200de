/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which block does a word refer to? An index over blocks in address order: a tree with 16 keys per node and leaves of 4
 * blocks, 2.1 bytes per block. Pure.
 *
 * A reference to the first byte refers to the start, one to a later byte to the inside. One past the end is no reference; a
 * block of 0 bytes counts as 1 byte long here.
 */
#ifndef RMEM_SERVER_AUDIT_REACH_BLOCKS_H
#define RMEM_SERVER_AUDIT_REACH_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REACH_BLOCKS_MAX (UINT32_MAX / 2)
#define REACH_LEVELS 8

struct reach_block {
	uint64_t addr;
	uint64_t bytes;
};

/* A block, by its number in address order, and which part of it: block * 2 + inside. */
typedef uint32_t reach_target;
#define REACH_NOTHING UINT32_MAX /* no block */

static inline reach_target reach_target_of(uint32_t block, bool inside)
{
	return block * 2 + inside;
}

static inline uint32_t reach_target_block(reach_target t)
{
	return t / 2;
}

static inline bool reach_target_inside(reach_target t)
{
	return t % 2;
}

struct reach_blocks {
	const struct reach_block *blocks;
	uint32_t n;
	unsigned levels;
	uint64_t *keys[REACH_LEVELS]; /* of level i: the address of every (4 * 16^i)th block */
};

/*
 * Keeps blocks, which the caller owns and does not change before reach_blocks_close(). -EINVAL: not in ascending order, they
 * overlap, one does not end below 2^64, or more than REACH_BLOCKS_MAX. -ENOMEM.
 */
int reach_blocks_open(struct reach_blocks *b, const struct reach_block *blocks, uint32_t n);
void reach_blocks_close(struct reach_blocks *b); /* a zeroed struct is fine */

/* out[i]: what the word words[i] refers to. Many at a time are several times as fast as one. */
void reach_blocks_find(
	const struct reach_blocks *b, const uint64_t *words, size_t n, reach_target *out);

#endif
