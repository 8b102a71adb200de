/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free memory is a set of pieces per order, powers of two by index (offset >> order). Free buddies are merged at once,
 * so an aligned power of two is wholly free exactly if one free piece contains it. No piece crosses the arena's end;
 * sizes that are not a power of two need nothing else. Taken blocks are the sets of their first and last pages.
 */
#include "server/memory/buddy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "server/base/bitset.h"

#define ORDER_MIN 12U
#define ORDER_MAX 42U
#define ORDERS (ORDER_MAX - ORDER_MIN + 1)

/* Places that buddy_alloc() looks at between taken blocks, so that a fragmented arena does not hold it up. */
#define GAPS_LOOKED_AT 1000

_Static_assert(1ULL << ORDER_MIN == BLOCK_MIN_BYTES, "the smallest order is a page");
_Static_assert(BLOCK_MIN_BYTES << (ORDERS - 1) == BLOCK_MAX_BYTES,
	"the largest order is the largest block");
_Static_assert(ORDERS == BUDDY_ORDERS, "as the header says");

struct buddy {
	uint64_t size_bytes;
	uint64_t free_bytes;
	struct bitset free[ORDERS];
	struct bitset first, last; /* pages of taken blocks */
};

static struct bitset *free_set(struct buddy *b, unsigned order)
{
	return &b->free[order - ORDER_MIN];
}

static uint64_t page_of(uint64_t offset)
{
	return offset >> ORDER_MIN;
}

static uint64_t round_up(uint64_t offset, uint64_t align)
{
	return (offset + align - 1) & ~(align - 1);
}

static bool block_is_possible(const struct buddy *b, uint64_t offset, uint64_t bytes)
{
	return bytes > 0 && bytes <= BLOCK_MAX_BYTES && bytes % BLOCK_MIN_BYTES == 0 &&
	       offset % block_align(bytes) == 0 && bytes <= b->size_bytes &&
	       offset <= b->size_bytes - bytes;
}

/* The order of the largest piece that begins at start and fits below end. */
static unsigned piece_order(uint64_t start, uint64_t end)
{
	const unsigned fits = 63 - (unsigned)__builtin_clzll(end - start);
	const unsigned aligned = start ? (unsigned)__builtin_ctzll(start) : ORDER_MAX;
	const unsigned order = fits < aligned ? fits : aligned;

	return order < ORDER_MAX ? order : ORDER_MAX;
}

/* Add [start, end) to the free pieces. */
static void give(struct buddy *b, uint64_t start, uint64_t end)
{
	b->free_bytes += end - start;
	while (start < end) {
		unsigned order = piece_order(start, end);
		uint64_t index = start >> order;

		start += 1ULL << order;
		while (order < ORDER_MAX && bitset_test(free_set(b, order), index ^ 1)) {
			bitset_clear(free_set(b, order), index ^ 1);
			index >>= 1;
			order++;
		}
		bitset_set(free_set(b, order), index);
	}
}

/* The order of the free piece that contains the piece of this order at offset; 0: it is not wholly free. */
static unsigned find_free(const struct buddy *b, uint64_t offset, unsigned order)
{
	for (; order <= ORDER_MAX; order++) {
		if (bitset_test(&b->free[order - ORDER_MIN], offset >> order))
			return order;
	}
	return 0;
}

static bool is_free(const struct buddy *b, uint64_t start, uint64_t end)
{
	while (start < end) {
		const unsigned order = piece_order(start, end);

		if (!find_free(b, start, order))
			return false;
		start += 1ULL << order;
	}
	return true;
}

/* Take a block that is wholly free. */
static void take(struct buddy *b, uint64_t offset, uint64_t bytes)
{
	const uint64_t end = offset + bytes;

	bitset_set(&b->first, page_of(offset));
	bitset_set(&b->last, page_of(end) - 1);
	while (offset < end) {
		const unsigned order = piece_order(offset, end);
		const unsigned from = find_free(b, offset, order);
		const uint64_t whole = offset >> from << from, past = offset + (1ULL << order);

		bitset_clear(free_set(b, from), offset >> from);
		b->free_bytes -= 1ULL << from;
		give(b, whole, offset);
		give(b, past, whole + (1ULL << from));
		offset = past;
	}
}

int buddy_create(uint64_t size_bytes, struct buddy **out)
{
	struct buddy *b;
	int err;

	if (size_bytes == 0 || size_bytes % BLOCK_MIN_BYTES != 0)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->size_bytes = size_bytes;
	err = bitset_create(&b->first, page_of(size_bytes));
	if (!err)
		err = bitset_create(&b->last, page_of(size_bytes));
	for (unsigned order = ORDER_MIN; order <= ORDER_MAX && !err; order++)
		err = bitset_create(free_set(b, order), size_bytes >> order);
	if (err) {
		buddy_destroy(b);
		return err;
	}
	give(b, 0, size_bytes);
	*out = b;
	return 0;
}

void buddy_destroy(struct buddy *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < ORDERS; i++)
		bitset_destroy(&b->free[i]);
	bitset_destroy(&b->first);
	bitset_destroy(&b->last);
	free(b);
}

/* What is sought: a block, outside the ranges. */
struct want {
	uint64_t bytes, align;
	const struct buddy_range *avoid;
	unsigned navoid;
};

/* The highest end of the ranges that overlap a block at offset; 0: none overlaps. */
static uint64_t end_of_overlap(const struct want *w, uint64_t offset)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < w->navoid; i++) {
		const struct buddy_range *r = &w->avoid[i];

		if (r->start < offset + w->bytes && offset < r->end && r->end > last)
			last = r->end;
	}
	return last;
}

/*
 * Find the lowest place for a block that begins in a free piece of this order. Every step but the last passes the end of
 * a range, or a gap that is too short.
 */
static bool find_in(
	const struct buddy *b, unsigned order, const struct want *w, uint64_t *out_offset)
{
	const struct bitset *set = &b->free[order - ORDER_MIN];
	unsigned gaps = 0;
	uint64_t offset = 0;

	while (offset < b->size_bytes && gaps < GAPS_LOOKED_AT) {
		const uint64_t index = bitset_next(set, offset >> order);
		const uint64_t start = index << order;
		uint64_t past;

		if (index == BITSET_NONE)
			return false;
		offset = round_up(offset < start ? start : offset, w->align);
		past = end_of_overlap(w, offset);
		if (past > b->size_bytes)
			return false;
		if (past) {
			offset = round_up(past, w->align);
		} else if (offset >> order != index || !is_free(b, offset, offset + w->bytes)) {
			offset = round_up(start + (1ULL << order), w->align);
			gaps++;
		} else {
			*out_offset = offset;
			return true;
		}
	}
	return false;
}

/*
 * A piece that holds the block and what it is aligned to is found at once. Else the block may fit in front of a taken
 * one, as where a block of its size was before: then its first half or more is a free piece.
 */
static bool find(const struct buddy *b, const struct want *w, uint64_t *out_offset)
{
	const unsigned order = (unsigned)__builtin_ctzll(w->align);

	for (unsigned from = order; from <= ORDER_MAX; from++) {
		if (find_in(b, from, w, out_offset))
			return true;
	}
	return w->bytes < w->align && find_in(b, order - 1, w, out_offset);
}

int buddy_alloc_outside(struct buddy *b, uint64_t bytes, const struct buddy_range avoid[],
	unsigned n, uint64_t *out_offset)
{
	struct want want = { .avoid = avoid, .navoid = n };

	if (bytes == 0)
		return -EINVAL;
	if (bytes > BLOCK_MAX_BYTES)
		return -EFBIG;
	want.bytes = block_bytes_for(bytes);
	want.align = block_align(bytes);
	if (!find(b, &want, out_offset))
		return -ENOSPC;
	take(b, *out_offset, want.bytes);
	return 0;
}

int buddy_alloc(struct buddy *b, uint64_t bytes, uint64_t *out_offset)
{
	return buddy_alloc_outside(b, bytes, NULL, 0, out_offset);
}

int buddy_reserve(struct buddy *b, uint64_t offset, uint64_t block_bytes)
{
	if (!block_is_possible(b, offset, block_bytes) || !is_free(b, offset, offset + block_bytes))
		return -EINVAL;
	take(b, offset, block_bytes);
	return 0;
}

int buddy_free(struct buddy *b, uint64_t offset, uint64_t block_bytes)
{
	const uint64_t end = offset + block_bytes;

	if (!block_is_possible(b, offset, block_bytes) ||
		!bitset_test(&b->first, page_of(offset)) ||
		bitset_next(&b->last, page_of(offset)) != page_of(end) - 1)
		return -EINVAL;
	bitset_clear(&b->first, page_of(offset));
	bitset_clear(&b->last, page_of(end) - 1);
	give(b, offset, end);
	return 0;
}

bool buddy_next_taken(const struct buddy *b, uint64_t from, struct buddy_range *out)
{
	uint64_t first;

	if (from >= b->size_bytes)
		return false;
	first = bitset_next(&b->first, page_of(round_up(from, BLOCK_MIN_BYTES)));
	if (first == BITSET_NONE)
		return false;
	*out = (struct buddy_range){ first << ORDER_MIN, (bitset_next(&b->last, first) + 1)
								 << ORDER_MIN };
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
