/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The buddy allocator against a naive model: one byte per page, and "the lowest aligned run that
 * the rules allow" found by looking at all of them. RMEM_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/bitset.h"
#include "server/memory/buddy.h"
#include "tests/support/rounds.h"

#define AVOID_RANGES 5
#define PAGE BLOCK_MIN_BYTES
#define MODEL_PAGES_MAX 2048
#define TAKEN_MAX MODEL_PAGES_MAX

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

struct block {
	uint64_t offset, bytes;
};

struct model {
	bool used[MODEL_PAGES_MAX];
	uint64_t pages;
	struct block taken[TAKEN_MAX];
	unsigned ntaken;
};

static bool model_is_free(const struct model *m, uint64_t offset, uint64_t bytes)
{
	if (offset / PAGE + bytes / PAGE > m->pages)
		return false;
	for (uint64_t p = offset / PAGE; p < (offset + bytes) / PAGE; p++) {
		if (m->used[p])
			return false;
	}
	return true;
}

static void model_set(struct model *m, uint64_t offset, uint64_t bytes, bool used)
{
	for (uint64_t p = offset / PAGE; p < (offset + bytes) / PAGE; p++)
		m->used[p] = used;
}

/* A maximal free block: aligned, wholly free, and the block twice as large around it is not. */
static bool model_is_free_block(const struct model *m, uint64_t offset, uint64_t bytes)
{
	uint64_t parent = offset & ~(2 * bytes - 1);

	return model_is_free(m, offset, bytes) &&
	       (bytes == BLOCK_MAX_BYTES || !model_is_free(m, parent, 2 * bytes));
}

/* What is not to be used, a bit for each page that has a byte of it. */
struct avoid {
	struct buddy_range ranges[AVOID_RANGES];
	unsigned n;
};

static bool is_avoided(const struct avoid *a, uint64_t offset, uint64_t bytes)
{
	bool avoided = false;

	for (unsigned i = 0; i < a->n; i++)
		avoided |= a->ranges[i].start < offset + bytes && offset < a->ranges[i].end;
	return avoided;
}

/* The lowest run of so many bytes that begins in a maximal free block of that size. */
static bool model_place_in(
	const struct model *m, uint64_t size, uint64_t bytes, const struct avoid *a, uint64_t *out)
{
	for (uint64_t offset = 0; offset < m->pages * PAGE; offset += block_align(bytes)) {
		if (model_is_free_block(m, offset & ~(size - 1), size) &&
			model_is_free(m, offset, bytes) && !is_avoided(a, offset, bytes)) {
			*out = offset;
			return true;
		}
	}
	return false;
}

/*
 * Where the allocator has to put bytes: in the smallest maximal block that has room for what they are aligned to, as
 * low as possible; if there is none, in front of what is taken.
 */
static bool model_place(const struct model *m, uint64_t bytes, const struct avoid *a, uint64_t *out)
{
	const uint64_t align = block_align(bytes);

	for (uint64_t size = align; size <= m->pages * PAGE; size *= 2) {
		if (model_place_in(m, size, bytes, a, out))
			return true;
	}
	return bytes < align && model_place_in(m, align / 2, bytes, a, out);
}

/* Any ranges: over each other, of some bytes, beyond the end. */
static void choose_avoid(const struct model *m, struct avoid *out)
{
	out->n = rnd(2) ? 0 : (unsigned)rnd(AVOID_RANGES + 1);
	for (unsigned i = 0; i < out->n; i++) {
		uint64_t start = rnd(m->pages * PAGE);

		out->ranges[i] = (struct buddy_range){ start, start + 1 + rnd(PAGE << rnd(8)) };
	}
}

static void check_counts(const struct buddy *b, const struct model *m)
{
	uint64_t free_pages = 0, largest = 0;

	for (uint64_t p = 0; p < m->pages; p++)
		free_pages += !m->used[p];
	assert_int_equal(buddy_free_bytes(b), free_pages * PAGE);
	for (uint64_t size = PAGE; size <= m->pages * PAGE; size *= 2) {
		for (uint64_t offset = 0; offset + size <= m->pages * PAGE; offset += size) {
			if (model_is_free(m, offset, size))
				largest = size;
		}
	}
	assert_int_equal(buddy_largest_free_bytes(b), largest);
}

static int by_offset(const void *left, const void *right)
{
	const struct block *l = left, *r = right;

	return l->offset < r->offset ? -1 : l->offset > r->offset;
}

/* All blocks that are taken, in order and no other. From within a block it is the next one. */
static void check_walk(const struct buddy *b, struct model *m)
{
	struct buddy_range at = { .end = 0 };

	qsort(m->taken, m->ntaken, sizeof(*m->taken), by_offset);
	for (unsigned i = 0; i < m->ntaken; i++) {
		const uint64_t end = at.end;

		assert_true(buddy_next_taken(b, end, &at));
		assert_int_equal(at.start, m->taken[i].offset);
		assert_int_equal(at.end, m->taken[i].offset + m->taken[i].bytes);
		assert_true(buddy_next_taken(b, at.start, &at));
		assert_int_equal(at.start, m->taken[i].offset);
		if (i > 0) {
			assert_true(buddy_next_taken(b, m->taken[i - 1].offset + 1, &at));
			assert_int_equal(at.start, m->taken[i].offset);
		}
	}
	assert_false(buddy_next_taken(b, at.end, &at));
	assert_false(buddy_next_taken(b, UINT64_MAX, &at));
}

static void remember(struct model *m, uint64_t offset, uint64_t bytes)
{
	assert_true(model_is_free(m, offset, bytes));
	model_set(m, offset, bytes, true);
	m->taken[m->ntaken++] = (struct block){ offset, bytes };
}

static void try_alloc(struct buddy *b, struct model *m)
{
	uint64_t bytes = 1 + rnd(PAGE << rnd(6));
	uint64_t block = block_bytes_for(bytes);
	uint64_t want = 0, offset = ~0ULL;
	struct avoid avoid;
	bool fits;
	int err;

	choose_avoid(m, &avoid);
	fits = model_place(m, block, &avoid, &want);
	err = avoid.n ? buddy_alloc_outside(b, bytes, avoid.ranges, avoid.n, &offset)
		      : buddy_alloc(b, bytes, &offset);
	assert_int_equal(err, fits ? 0 : -ENOSPC);
	if (err) {
		assert_int_equal(offset, ~0ULL);
		return;
	}
	assert_int_equal(offset, want);
	remember(m, offset, block);
}

static void try_reserve(struct buddy *b, struct model *m)
{
	uint64_t bytes = PAGE * (1 + rnd(40));
	uint64_t offset = rnd(m->pages + 8) * PAGE;
	bool fits = offset % block_align(bytes) == 0 && model_is_free(m, offset, bytes);

	assert_int_equal(buddy_reserve(b, offset, bytes), fits ? 0 : -EINVAL);
	if (fits)
		remember(m, offset, bytes);
}

static void try_free(struct buddy *b, struct model *m)
{
	unsigned i;
	struct block block;

	if (m->ntaken == 0)
		return;
	i = (unsigned)rnd(m->ntaken);
	block = m->taken[i];
	/* What is nearly right must change nothing: shorter, longer, beside, inside, beyond. */
	assert_int_equal(buddy_free(b, block.offset, block.bytes - PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset, block.bytes + PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset, block.bytes / 2), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset, block.bytes * 2), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset, block.bytes + PAGE / 2), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset + 1, block.bytes), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset + PAGE / 2, PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, m->pages * PAGE, block.bytes), -EINVAL);
	assert_int_equal(buddy_free(b, block.offset, block.bytes), 0);
	assert_int_equal(buddy_free(b, block.offset, block.bytes), -EINVAL);
	model_set(m, block.offset, block.bytes, false);
	m->taken[i] = m->taken[--m->ntaken];
}

/* Everything given back: the arena must be the one that buddy_create() makes. */
static void check_like_new(struct buddy *b, struct model *m)
{
	struct buddy *fresh;
	uint64_t offset, want;

	while (m->ntaken > 0)
		try_free(b, m);
	assert_int_equal(buddy_free_bytes(b), buddy_size_bytes(b));
	assert_int_equal(buddy_create(m->pages * PAGE, &fresh), 0);
	for (;;) {
		uint64_t bytes = buddy_largest_free_bytes(fresh);

		assert_int_equal(buddy_largest_free_bytes(b), bytes);
		if (bytes == 0)
			break;
		assert_int_equal(buddy_alloc(fresh, bytes, &want), 0);
		assert_int_equal(buddy_alloc(b, bytes, &offset), 0);
		assert_int_equal(offset, want);
	}
	assert_int_equal(buddy_free_bytes(b), 0);
	assert_int_equal(buddy_alloc(b, 1, &offset), -ENOSPC);
	buddy_destroy(fresh);
}

static void test_random(void **state)
{
	static const uint64_t sizes[] = { 1, 2, 3, 7, 64, 65, 255, 1000, 1024, 2047, 2048 };
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct buddy *b;

		memset(m, 0, sizeof(*m));
		m->pages = sizes[s];
		assert_int_equal(buddy_create(m->pages * PAGE, &b), 0);
		assert_int_equal(buddy_size_bytes(b), m->pages * PAGE);
		for (unsigned i = 0; i < rounds(4000); i++) {
			/* Long phases that fill and that empty, so that both ends are met. */
			unsigned dice = (unsigned)rnd(100) + (i / 500 % 2 ? 30 : 0);

			if (dice < 55)
				try_alloc(b, m);
			else if (dice < 65)
				try_reserve(b, m);
			else
				try_free(b, m);
			if (i % 64 == 0) {
				check_counts(b, m);
				check_walk(b, m);
			}
		}
		check_like_new(b, m);
		buddy_destroy(b);
	}
	free(m);
}

static void test_block_bytes(void **state)
{
	(void)state;
	assert_int_equal(block_bytes_for(1), 4096);
	assert_int_equal(block_bytes_for(4096), 4096);
	assert_int_equal(block_bytes_for(4097), 8192);
	assert_int_equal(block_bytes_for(8193), 12288);
	assert_int_equal(block_bytes_for(BLOCK_MAX_BYTES - 1), BLOCK_MAX_BYTES);
	assert_int_equal(block_bytes_for(BLOCK_MAX_BYTES), BLOCK_MAX_BYTES);
	assert_int_equal(block_align(1), 4096);
	assert_int_equal(block_align(4096), 4096);
	assert_int_equal(block_align(8192), 8192);
	assert_int_equal(block_align(8193), 16384);
	assert_int_equal(block_align(BLOCK_MAX_BYTES), BLOCK_MAX_BYTES);
}

/* A run leaves the rest of its power of two, and fits again where it was, whatever the rest is used for. */
static void test_tail(void **state)
{
	uint64_t run, tail, again;
	struct buddy *b;

	(void)state;
	assert_int_equal(buddy_create(4 * PAGE, &b), 0);
	assert_int_equal(buddy_alloc(b, 3 * PAGE, &run), 0);
	assert_int_equal(run, 0);
	assert_int_equal(buddy_free_bytes(b), PAGE);
	assert_int_equal(buddy_alloc(b, PAGE, &tail), 0);
	assert_int_equal(tail, 3 * PAGE);
	assert_int_equal(buddy_alloc(b, 1, &again), -ENOSPC);
	assert_int_equal(buddy_free(b, run, 2 * PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, run, 4 * PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, run, 3 * PAGE), 0);
	assert_int_equal(buddy_largest_free_bytes(b), 2 * PAGE);
	assert_int_equal(buddy_alloc(b, 4 * PAGE, &again), -ENOSPC);
	assert_int_equal(buddy_alloc(b, 3 * PAGE, &again), 0);
	assert_int_equal(again, run);
	buddy_destroy(b);
}

static void test_bad_arguments(void **state)
{
	struct buddy *b = NULL;
	uint64_t offset = 5;

	(void)state;
	assert_int_equal(buddy_create(0, &b), -EINVAL);
	assert_int_equal(buddy_create(PAGE + 1, &b), -EINVAL);
	assert_null(b);
	assert_int_equal(buddy_create(16 * PAGE, &b), 0);
	assert_int_equal(buddy_alloc(b, 0, &offset), -EINVAL);
	assert_int_equal(buddy_alloc(b, BLOCK_MAX_BYTES + 1, &offset), -EFBIG);
	assert_int_equal(buddy_alloc(b, BLOCK_MAX_BYTES, &offset), -ENOSPC);
	assert_int_equal(buddy_reserve(b, 0, 0), -EINVAL);
	assert_int_equal(buddy_reserve(b, 0, PAGE + 1), -EINVAL);
	assert_int_equal(buddy_reserve(b, 0, 2048), -EINVAL);
	assert_int_equal(buddy_reserve(b, PAGE, 2 * PAGE), -EINVAL);
	assert_int_equal(buddy_reserve(b, UINT64_MAX - PAGE + 1, PAGE), -EINVAL);
	assert_int_equal(buddy_reserve(b, 0, 2 * BLOCK_MAX_BYTES), -EINVAL);
	assert_int_equal(buddy_free(b, 0, PAGE), -EINVAL);
	assert_int_equal(buddy_free(b, 0, 0), -EINVAL);
	assert_int_equal(offset, 5);
	assert_int_equal(buddy_free_bytes(b), 16 * PAGE);
	buddy_destroy(b);
	buddy_destroy(NULL);
}

#define TIB (1ULL << 40)
#define GIB (1ULL << 30)

/* Blocks that are longer than a window can be, beside others. */
static void take_long(struct buddy *b)
{
	uint64_t offset, other;

	assert_int_equal(buddy_alloc(b, TIB + PAGE, &offset), -ENOSPC);
	assert_int_equal(buddy_alloc(b, 600 * GIB + 1, &offset), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(buddy_free_bytes(b), TIB - 600 * GIB - PAGE);
	assert_int_equal(buddy_largest_free_bytes(b), 256 * GIB);
	assert_int_equal(buddy_alloc(b, 3 * GIB, &other), 0);
	assert_int_equal(other % (4 * GIB), 0);
	assert_int_equal(buddy_free(b, other, 3 * GIB), 0);
	assert_int_equal(buddy_free(b, offset, 600 * GIB), -EINVAL);
	assert_int_equal(buddy_free(b, offset, 600 * GIB + PAGE), 0);
	assert_int_equal(buddy_reserve(b, TIB / 4, 3 * TIB / 4), -EINVAL);
	assert_int_equal(buddy_reserve(b, 0, 3 * TIB / 4), 0);
	assert_int_equal(buddy_free_bytes(b), TIB / 4);
	assert_int_equal(buddy_free(b, 0, 3 * TIB / 4), 0);
}

/* 1 TiB and a page: blocks as long as a window can be, in order, then the odd page; and longer ones. */
static void test_large(void **state)
{
	uint64_t size = TIB + PAGE, offset;
	struct buddy *b;

	(void)state;
	assert_int_equal(buddy_create(size, &b), 0);
	assert_int_equal(buddy_alloc(b, 1, &offset), 0);
	assert_int_equal(offset, TIB);
	for (uint64_t i = 0; i < 512; i++) {
		assert_int_equal(buddy_alloc(b, PART_MAX_BYTES, &offset), 0);
		assert_int_equal(offset, i * PART_MAX_BYTES);
	}
	assert_int_equal(buddy_free_bytes(b), 0);
	assert_int_equal(buddy_largest_free_bytes(b), 0);
	for (uint64_t i = 512; i-- > 0;)
		assert_int_equal(buddy_free(b, i * PART_MAX_BYTES, PART_MAX_BYTES), 0);
	take_long(b);
	assert_int_equal(buddy_free(b, TIB, PAGE), 0);
	assert_int_equal(buddy_largest_free_bytes(b), TIB);
	buddy_destroy(b);
}

static void test_bitset(void **state)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 4096, 4097, 300000 };

	(void)state;
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint64_t n = sizes[s];
		bool *model = calloc(n, sizeof(*model));
		struct bitset set;

		assert_non_null(model);
		assert_int_equal(bitset_create(&set, n), 0);
		for (unsigned i = 0; i < rounds(3000); i++) {
			uint64_t at = rnd(n), next = rnd(n);

			model[at] = rnd(2) == 1;
			if (model[at])
				bitset_set(&set, at);
			else
				bitset_clear(&set, at);
			assert_int_equal(bitset_test(&set, at), model[at]);
			assert_false(bitset_test(&set, n));
			at = bitset_next(&set, next);
			while (next < n && !model[next])
				next++;
			assert_int_equal(at, next < n ? next : BITSET_NONE);
		}
		assert_true(bitset_next(&set, n) == BITSET_NONE);
		bitset_destroy(&set);
		free(model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_block_bytes),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_bitset),
	};
	const char *text = getenv("RMEM_TEST_SEED");

	seed = text ? strtoull(text, NULL, 0) : 0x9e3779b97f4a7c15ULL;
	printf("RMEM_TEST_SEED=%#llx\n", (unsigned long long)seed);
	if (seed == 0)
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
