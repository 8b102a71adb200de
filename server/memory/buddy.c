/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two sets per order, free blocks and taken blocks, by index (offset >> order). Free buddies are merged at once, so a
 * block is wholly free exactly if one free block contains it. No set has a block that crosses the arena's end; sizes
 * that are not a power of two need nothing else.
 */
#include "server/memory/buddy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "server/base/bitset.h"

#define ORDER_MIN 12
#define ORDER_MAX 31
#define ORDERS (ORDER_MAX - ORDER_MIN + 1)

_Static_assert(1ULL << ORDER_MIN == BLOCK_MIN_BYTES, "the smallest order is the smallest block");
_Static_assert(BLOCK_MIN_BYTES << (ORDERS - 1) == BLOCK_MAX_BYTES,
	"the largest order is the largest block");
_Static_assert(ORDERS == BUDDY_ORDERS, "as the header says");

struct buddy {
	uint64_t size_bytes;
	uint64_t free_bytes;
	struct bitset free[ORDERS];
	struct bitset taken[ORDERS];
};

static struct bitset *free_set(struct buddy *b, unsigned order)
{
	return &b->free[order - ORDER_MIN];
}

static struct bitset *taken_set(struct buddy *b, unsigned order)
{
	return &b->taken[order - ORDER_MIN];
}

/* The order whose blocks have exactly block_bytes bytes, or 0. */
static unsigned exact_order(uint64_t block_bytes)
{
	if (block_bytes < BLOCK_MIN_BYTES || block_bytes > BLOCK_MAX_BYTES ||
		(block_bytes & (block_bytes - 1)) != 0)
		return 0;
	return (unsigned)__builtin_ctzll(block_bytes);
}

static bool block_is_possible(const struct buddy *b, uint64_t offset, uint64_t block_bytes)
{
	return exact_order(block_bytes) != 0 && offset % block_bytes == 0 &&
	       block_bytes <= b->size_bytes && offset <= b->size_bytes - block_bytes;
}

/* Cover the arena with the largest aligned blocks that fit. */
static void fill(struct buddy *b)
{
	uint64_t offset = 0;

	while (offset < b->size_bytes) {
		unsigned order = ORDER_MAX;

		while (!block_is_possible(b, offset, 1ULL << order))
			order--;
		bitset_set(free_set(b, order), offset >> order);
		offset += 1ULL << order;
	}
	b->free_bytes = b->size_bytes;
}

int buddy_create(uint64_t size_bytes, struct buddy **out)
{
	struct buddy *b;
	int err = 0;

	if (size_bytes == 0 || size_bytes % BLOCK_MIN_BYTES != 0)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->size_bytes = size_bytes;
	for (unsigned order = ORDER_MIN; order <= ORDER_MAX && !err; order++) {
		err = bitset_create(free_set(b, order), size_bytes >> order);
		if (!err)
			err = bitset_create(taken_set(b, order), size_bytes >> order);
	}
	if (err) {
		buddy_destroy(b);
		return err;
	}
	fill(b);
	*out = b;
	return 0;
}

void buddy_destroy(struct buddy *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < ORDERS; i++) {
		bitset_destroy(&b->free[i]);
		bitset_destroy(&b->taken[i]);
	}
	free(b);
}

uint64_t buddy_block_bytes(uint64_t bytes)
{
	if (bytes == 0 || bytes > BLOCK_MAX_BYTES)
		return 0;
	if (bytes <= BLOCK_MIN_BYTES)
		return BLOCK_MIN_BYTES;
	return 1ULL << (64 - (unsigned)__builtin_clzll(bytes - 1));
}

/* Split the free block of order from that contains offset: take the block at offset, free the rest. */
static void carve(struct buddy *b, uint64_t offset, unsigned from, unsigned order)
{
	bitset_clear(free_set(b, from), offset >> from);
	while (from > order) {
		from--;
		bitset_set(free_set(b, from), offset >> from ^ 1);
	}
	bitset_set(taken_set(b, order), offset >> order);
	b->free_bytes -= 1ULL << order;
}

/* A block that can be taken, inside a free block. */
struct place {
	uint64_t offset;
	unsigned from; /* order of the free block */
};

/* The highest end of the ranges that overlap [start, end); 0: none overlaps. */
static uint64_t end_of_overlap(
	const struct buddy_range avoid[], unsigned n, uint64_t start, uint64_t end)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < n; i++) {
		if (avoid[i].start < end && start < avoid[i].end && avoid[i].end > last)
			last = avoid[i].end;
	}
	return last;
}

/*
 * Find the lowest block of an order that is in a free block of order from and outside the ranges. Every step but the
 * last passes the end of a range.
 */
static bool find_in(const struct buddy *b, unsigned from, unsigned order,
	const struct buddy_range avoid[], unsigned n, uint64_t *out_offset)
{
	const struct bitset *set = &b->free[from - ORDER_MIN];
	const uint64_t bytes = 1ULL << order;
	uint64_t offset = 0;

	while (offset < b->size_bytes) {
		uint64_t index = bitset_next(set, offset >> from), past;

		if (index == BITSET_NONE)
			return false;
		if (offset < index << from)
			offset = index << from;
		past = end_of_overlap(avoid, n, offset, offset + bytes);
		if (!past) {
			*out_offset = offset;
			return true;
		}
		if (past > b->size_bytes)
			return false;
		offset = (past + bytes - 1) & ~(bytes - 1);
	}
	return false;
}

static bool find(const struct buddy *b, unsigned order, const struct buddy_range avoid[],
	unsigned n, struct place *out)
{
	for (out->from = order; out->from <= ORDER_MAX; out->from++) {
		if (find_in(b, out->from, order, avoid, n, &out->offset))
			return true;
	}
	return false;
}

int buddy_alloc_outside(struct buddy *b, uint64_t bytes, const struct buddy_range avoid[],
	unsigned n, uint64_t *out_offset)
{
	struct place place;
	unsigned order;

	if (bytes == 0)
		return -EINVAL;
	if (bytes > BLOCK_MAX_BYTES)
		return -EFBIG;
	order = exact_order(buddy_block_bytes(bytes));
	if (!find(b, order, avoid, n, &place))
		return -ENOSPC;
	carve(b, place.offset, place.from, order);
	*out_offset = place.offset;
	return 0;
}

int buddy_alloc(struct buddy *b, uint64_t bytes, uint64_t *out_offset)
{
	return buddy_alloc_outside(b, bytes, NULL, 0, out_offset);
}

int buddy_reserve(struct buddy *b, uint64_t offset, uint64_t block_bytes)
{
	unsigned order = exact_order(block_bytes);

	if (!block_is_possible(b, offset, block_bytes))
		return -EINVAL;
	for (unsigned from = order; from <= ORDER_MAX; from++) {
		if (bitset_test(free_set(b, from), offset >> from)) {
			carve(b, offset, from, order);
			return 0;
		}
	}
	return -EINVAL;
}

int buddy_free(struct buddy *b, uint64_t offset, uint64_t block_bytes)
{
	unsigned order = exact_order(block_bytes);
	uint64_t index;

	if (!block_is_possible(b, offset, block_bytes))
		return -EINVAL;
	index = offset >> order;
	if (!bitset_test(taken_set(b, order), index))
		return -EINVAL;
	bitset_clear(taken_set(b, order), index);
	b->free_bytes += block_bytes;
	while (order < ORDER_MAX && bitset_test(free_set(b, order), index ^ 1)) {
		bitset_clear(free_set(b, order), index ^ 1);
		index >>= 1;
		order++;
	}
	bitset_set(free_set(b, order), index);
	return 0;
}

bool buddy_next_taken(const struct buddy *b, uint64_t from, struct buddy_range *out)
{
	struct buddy_range first = { .start = UINT64_MAX };

	for (unsigned order = ORDER_MIN; order <= ORDER_MAX && from < b->size_bytes; order++) {
		const uint64_t bytes = 1ULL << order;
		const uint64_t index =
			bitset_next(&b->taken[order - ORDER_MIN], (from + bytes - 1) >> order);

		if (index != BITSET_NONE && index << order < first.start)
			first = (struct buddy_range){ index << order, (index + 1) << order };
	}
	if (first.start == UINT64_MAX)
		return false;
	*out = first;
	return true;
}

uint64_t buddy_size_bytes(const struct buddy *b)
{
	return b->size_bytes;
}

uint64_t buddy_free_bytes(const struct buddy *b)
{
	return b->free_bytes;
}

uint64_t buddy_free_pieces(const struct buddy *b, unsigned order)
{
	return b->free[order].count;
}

uint64_t buddy_largest_free_bytes(const struct buddy *b)
{
	for (unsigned i = ORDERS; i-- > 0;) {
		if (bitset_next(&b->free[i], 0) != BITSET_NONE)
			return 1ULL << (i + ORDER_MIN);
	}
	return 0;
}
