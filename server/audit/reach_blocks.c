/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/reach_blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FANOUT 16U
#define LEAF 4U /* a cache line of blocks */
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

static uint32_t ratio(uint32_t n, uint32_t of)
{
	return n / of + (n % of != 0);
}

/* Keys of one level; what is behind the last is above all addresses. */
static uint64_t *make_keys(const struct reach_blocks *b, uint32_t n, uint64_t stride)
{
	const size_t room = (size_t)ratio(n, FANOUT) * FANOUT;
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
	uint32_t keys = ratio(n, LEAF);

	if (!are_valid(blocks, n))
		return -EINVAL;
	*b = (struct reach_blocks){ .blocks = blocks, .n = n };
	for (uint64_t stride = LEAF; keys > 1; stride *= FANOUT) {
		b->keys[b->levels] = make_keys(b, keys, stride);
		if (!b->keys[b->levels]) {
			reach_blocks_close(b);
			return -ENOMEM;
		}
		b->levels++;
		keys = ratio(keys, FANOUT);
	}
	return 0;
}

void reach_blocks_close(struct reach_blocks *b)
{
	for (unsigned i = 0; i < b->levels; i++)
		free(b->keys[i]);
	*b = (struct reach_blocks){ .n = 0 };
}

/* The last key of a node that is not above the word; the first, if all are. Without a branch that could be mispredicted. */
static uint32_t key_for(const uint64_t *keys, uint64_t word)
{
	const uint64_t below = word < UINT64_MAX ? word : UINT64_MAX - 1; /* not the padding */
	uint32_t key = 0;

	for (uint32_t half = FANOUT / 2; half > 0; half /= 2)
		key += (keys[key + half] <= below) * half;
	return key;
}

/* How many blocks of a leaf do not begin above the word. */
static uint32_t rank_in_blocks(const struct reach_blocks *b, uint32_t first, uint64_t word)
{
	const uint32_t n = b->n - first < LEAF ? b->n - first : LEAF;
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

/* Two cache lines of keys, or what is usually one of blocks. */
static void fetch(const struct reach_blocks *b, unsigned level, uint32_t node)
{
	if (level == 0) {
		__builtin_prefetch(b->blocks + (size_t)node * LEAF);
		return;
	}
	__builtin_prefetch(b->keys[level - 1] + (size_t)node * FANOUT);
	__builtin_prefetch(b->keys[level - 1] + (size_t)node * FANOUT + FANOUT / 2);
}

/* A few words, all of them on the same level at the same time. */
static void find_some(
	const struct reach_blocks *b, const uint64_t *words, size_t n, reach_target *out)
{
	uint32_t node[TOGETHER] = { 0 };

	for (unsigned level = b->levels; level > 0; level--) {
		const uint64_t *keys = b->keys[level - 1];

		for (size_t i = 0; i < n; i++) {
			node[i] = node[i] * FANOUT +
				  key_for(keys + (size_t)node[i] * FANOUT, words[i]);
			fetch(b, level - 1, node[i]);
		}
	}
	for (size_t i = 0; i < n; i++)
		out[i] = judge(b, node[i] * LEAF, words[i]);
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
