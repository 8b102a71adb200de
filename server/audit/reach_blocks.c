/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/reach_blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FANOUT 16U
#define TOGETHER \
	16U /* look-ups; the caches load the next level for one while the others are compared */

static uint64_t length(const struct reach_block *b)
{
	return b->bytes ? b->bytes : 1;
}

static bool are_valid(const struct reach_block *blocks, uint32_t n)
{
	uint64_t end = 0;

	if (n > REACH_BLOCKS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (blocks[i].addr < end || length(&blocks[i]) > UINT64_MAX - blocks[i].addr)
			return false;
		end = blocks[i].addr + length(&blocks[i]);
	}
	return true;
}

static uint32_t nodes_for(uint32_t n)
{
	return (n + FANOUT - 1) / FANOUT;
}

/* Keys of one level; what is behind the last is above all addresses. */
static uint64_t *make_keys(const struct reach_blocks *b, uint32_t n, uint64_t stride)
{
	const size_t room = (size_t)nodes_for(n) * FANOUT;
	uint64_t *keys = aligned_alloc(64, room * sizeof(*keys));

	if (!keys)
		return NULL;
	for (size_t i = 0; i < n; i++)
		keys[i] = b->blocks[i * stride].addr;
	for (size_t i = n; i < room; i++)
		keys[i] = UINT64_MAX;
	return keys;
}

int reach_blocks_open(struct reach_blocks *b, const struct reach_block *blocks, uint32_t n)
{
	uint64_t stride = FANOUT;

	if (!are_valid(blocks, n))
		return -EINVAL;
	*b = (struct reach_blocks){ .blocks = blocks, .n = n };
	for (uint32_t keys = n; keys > FANOUT; stride *= FANOUT) {
		keys = nodes_for(keys);
		b->keys[b->levels] = make_keys(b, keys, stride);
		if (!b->keys[b->levels]) {
			reach_blocks_close(b);
			return -ENOMEM;
		}
		b->levels++;
	}
	return 0;
}

void reach_blocks_close(struct reach_blocks *b)
{
	for (unsigned i = 0; i < b->levels; i++)
		free(b->keys[i]);
	*b = (struct reach_blocks){ .n = 0 };
}

/* How many of a node's keys are not above the word. */
static uint32_t rank_in_keys(const uint64_t *keys, uint64_t word)
{
	const uint64_t below = word < UINT64_MAX ? word : UINT64_MAX - 1; /* not the padding */
	uint32_t rank = 0;

	for (unsigned i = 0; i < FANOUT; i++)
		rank += keys[i] <= below;
	return rank;
}

/* The same for the blocks that such a node stands for. */
static uint32_t rank_in_blocks(const struct reach_blocks *b, uint32_t first, uint64_t word)
{
	const uint32_t n = b->n - first < FANOUT ? b->n - first : FANOUT;
	uint32_t rank = 0;

	for (uint32_t i = 0; i < n; i++)
		rank += b->blocks[first + i].addr <= word;
	return rank;
}

static reach_target judge(const struct reach_blocks *b, uint32_t first, uint64_t word)
{
	const uint32_t rank = rank_in_blocks(b, first, word);
	uint32_t block;

	if (rank == 0)
		return REACH_NOTHING;
	block = first + rank - 1;
	if (word - b->blocks[block].addr >= length(&b->blocks[block]))
		return REACH_NOTHING;
	return reach_target_of(block, word != b->blocks[block].addr);
}

/* A few words, all of them on the same level at the same time. */
static void find_some(
	const struct reach_blocks *b, const uint64_t *words, size_t n, reach_target *out)
{
	uint32_t node[TOGETHER] = { 0 };

	for (unsigned level = b->levels; level > 0; level--) {
		const uint64_t *keys = b->keys[level - 1];

		for (size_t i = 0; i < n; i++) {
			const uint32_t rank =
				rank_in_keys(keys + (size_t)node[i] * FANOUT, words[i]);

			/* Below the first key of all: the lowest block decides. */
			node[i] = node[i] * FANOUT + (rank ? rank - 1 : 0);
			if (level > 1)
				__builtin_prefetch(b->keys[level - 2] + (size_t)node[i] * FANOUT);
			else
				__builtin_prefetch(b->blocks + (size_t)node[i] * FANOUT);
		}
	}
	for (size_t i = 0; i < n; i++)
		out[i] = judge(b, node[i] * FANOUT, words[i]);
}

void reach_blocks_find(
	const struct reach_blocks *b, const uint64_t *words, size_t n, reach_target *out)
{
	for (size_t i = 0; i < n; i += TOGETHER) {
		const size_t some = n - i < TOGETHER ? n - i : TOGETHER;

		if (b->n)
			find_some(b, words + i, some, out + i);
		else
			memset(out + i, 0xff, some * sizeof(*out));
	}
}
