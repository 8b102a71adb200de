/* SPDX-License-Identifier: BSD-3-Clause */
/* Which block a word refers to, and the references found in blocks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/audit/reach_edges.h"
#include "tests/support/random.h"

/* ---- the index ---- */

static reach_target find_slowly(const struct reach_block *blocks, uint32_t n, uint64_t word)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t bytes = blocks[i].bytes ? blocks[i].bytes : 1;

		if (word >= blocks[i].addr && word - blocks[i].addr < bytes)
			return reach_target_of(i, word > blocks[i].addr);
	}
	return REACH_NOTHING;
}

/* Sizes around each number of levels; every first and last byte, and their neighbours. */
static void test_find(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 15, 16, 17, 255, 256, 257, 300, 4096, 4097, 4500 };
	static struct reach_block blocks[4500];
	static uint64_t words[5 * 4500 + 3];
	static reach_target found[5 * 4500 + 3];
	uint64_t seed = 7;

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		const uint32_t n = sizes[s];
		uint64_t at = 5;
		size_t nwords = 0;
		struct reach_blocks b;

		for (uint32_t i = 0; i < n; i++) {
			at += random_below(&seed, 2) * random_below(&seed, 50);
			blocks[i] = (struct reach_block){ at, random_below(&seed, 30) };
			at += blocks[i].bytes ? blocks[i].bytes : 1;
			for (int by = -1; by <= 1; by++)
				words[nwords++] = blocks[i].addr + (uint64_t)by;
			words[nwords++] = at - 1;
			words[nwords++] = at;
		}
		words[nwords++] = 0;
		words[nwords++] = UINT64_MAX;
		words[nwords++] = UINT64_MAX - 1;
		assert_int_equal(reach_blocks_open(&b, blocks, n), 0);
		reach_blocks_find(&b, words, nwords, found);
		for (size_t i = 0; i < nwords; i += n < 300 ? 1 : 1 + random_below(&seed, 20))
			assert_int_equal(found[i], find_slowly(blocks, n, words[i]));
		reach_blocks_close(&b);
	}
}

static void test_refused_blocks(void **state)
{
	static const struct reach_block descending[] = { { 100, 10 }, { 50, 10 } };
	static const struct reach_block twice[] = { { 100, 0 }, { 100, 10 } };
	static const struct reach_block overlapping[] = { { 100, 11 }, { 110, 10 } };
	static const struct reach_block endless[] = { { UINT64_MAX - 9, 10 } };
	static const struct reach_block last[] = { { UINT64_MAX - 10, 10 } };
	struct reach_blocks b = { .n = 0 };

	(void)state;
	assert_int_equal(reach_blocks_open(&b, descending, 2), -EINVAL);
	assert_int_equal(reach_blocks_open(&b, twice, 2), -EINVAL);
	assert_int_equal(reach_blocks_open(&b, overlapping, 2), -EINVAL);
	assert_int_equal(reach_blocks_open(&b, endless, 1), -EINVAL);
	assert_int_equal(reach_blocks_open(&b, last, 1), 0);
	reach_blocks_close(&b);
	reach_blocks_close(&b);
}

/* ---- references ---- */

static const struct reach_block four[] = { { 1000, 100 }, { 1100, 100 }, { 1200, 0 },
	{ 1300, 100 } };

static void test_refused_references(void **state)
{
	static const struct reach_word good[] = { { 1, 1000 }, { 1, 1000 }, { 1, 1004 },
		{ 2, 1000 } };
	static const struct reach_word bad[] = { { 1, 1300 } }, below[] = { { 0, 1300 } },
				       beyond[] = { { 3, 1000 } }, more[] = { { 2, 1300 } };
	struct reach_blocks b;
	struct reach_edges e;
	const reach_target *at, *end;

	(void)state;
	assert_int_equal(reach_blocks_open(&b, four, 4), 0);
	assert_int_equal(reach_edges_open(&e, 1, 2, 3), 0);
	assert_int_equal(reach_edges_add(&e, &b, good, 4), 0);
	assert_int_equal(reach_edges_add(&e, &b, bad, 1), -EINVAL);
	assert_int_equal(reach_edges_add(&e, &b, below, 1), -EINVAL);
	assert_int_equal(reach_edges_add(&e, &b, beyond, 1), -EINVAL);
	assert_int_equal(reach_edges_add(&e, &b, more, 1), -ENOSPC);
	at = reach_edges_of(&e, 1, &end);
	assert_int_equal(end - at, 2); /* the same word twice is one reference */
	assert_int_equal(at[0], reach_target_of(0, false));
	assert_int_equal(at[1], reach_target_of(0, true));
	at = reach_edges_of(&e, 2, &end);
	assert_int_equal(end - at, 1);
	reach_edges_close(&e);
	reach_edges_close(&e);
	reach_blocks_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_refused_blocks),
		cmocka_unit_test(test_refused_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
