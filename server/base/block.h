/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block is what an allocation takes: a run of whole pages. A memory window covers a part of it: all, unless the block
 * is longer than a window can be.
 */
#ifndef RMEM_SERVER_BASE_BLOCK_H
#define RMEM_SERVER_BASE_BLOCK_H

#include <stdint.h>

#define BLOCK_MIN_BYTES 4096ULL
#define BLOCK_MAX_BYTES (1ULL << 42) /* all addresses of a segment (common/addr.h) */
#define PART_MAX_BYTES (1ULL << 31)  /* mlx5 binds no window larger than 2 GiB */

/* The bytes of the block for so many bytes, at most BLOCK_MAX_BYTES. */
static inline uint64_t block_bytes_for(uint64_t bytes)
{
	return (bytes + BLOCK_MIN_BYTES - 1) & ~(BLOCK_MIN_BYTES - 1);
}

/* What a block for 1 to BLOCK_MAX_BYTES bytes is aligned to: the power of two that holds it. */
static inline uint64_t block_align(uint64_t bytes)
{
	return bytes <= BLOCK_MIN_BYTES ? BLOCK_MIN_BYTES
					: 1ULL << (64 - (unsigned)__builtin_clzll(bytes - 1));
}

#endif
