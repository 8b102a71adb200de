/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers that are given once: which of those that are found in files are believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "server/ledger/numbering.h"

#define REACH 1000

static struct numbering numbering_of(uint64_t max, const uint64_t found[], unsigned count)
{
	struct numbering n;

	numbering_begin(&n, max, REACH);
	for (unsigned i = 0; i < count; i++)
		numbering_found(&n, found[i]);
	return n;
}

#define WITH(max, ...) \
	numbering_of(max, (const uint64_t[]){ __VA_ARGS__ }, \
		sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void test_goes_on_after_the_highest(void **state)
{
	struct numbering n = WITH(100000, 0);

	(void)state;
	assert_int_equal(numbering_next(&n), 1);
	assert_int_equal(numbering_give(&n), 1);
	assert_int_equal(numbering_give(&n), 2);
	assert_true(numbering_is_valid(&n, 2));
	assert_false(numbering_is_valid(&n, 3));
	assert_false(numbering_is_valid(&n, 0));
	n = WITH(100000, 7, 3, 999, 5);
	assert_int_equal(numbering_next(&n), 1000);
	assert_true(numbering_is_valid(&n, 999));
	/* Found too late to matter: nothing is given twice. */
	numbering_found(&n, 50);
	assert_int_equal(numbering_give(&n), 1000);
}

static void test_steps(void **state)
{
	static const struct {
		uint64_t found[4], next;
	} cases[] = {
		{ { REACH }, REACH + 1 },
		{ { REACH + 1 }, 1 },
		{ { 500, 500 + REACH }, 501 + REACH },
		{ { 500 + REACH, 500 }, 501 + REACH },
		{ { 500, 501 + REACH }, 501 },
		{ { 500, 3 * REACH, 3 * REACH + 1 }, 501 },
		/* Each at most a reach above the one before, in any order. */
		{ { 2900, 1950, 1000 }, 2901 },
		{ { 1000, 2900, 1950, 3901 }, 2901 },
		/* Two of one reach, of which the higher one is as good as the lower one. */
		{ { 900, 1800, 1999, 2998 }, 2999 },
		{ { 7, 100000 }, 8 },
		{ { 7, 99999, 99998 }, 8 },
		{ { 7, 100001 }, 8 }, /* more than max */
		{ { 7, UINT64_MAX }, 8 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct numbering n = numbering_of(100000, cases[i].found, 4);

		assert_int_equal(numbering_next(&n), cases[i].next);
	}
}

static void test_all_are_given(void **state)
{
	struct numbering n = WITH(2500, 900, 1800);
	unsigned given = 0;

	(void)state;
	while (numbering_give(&n))
		given++;
	assert_int_equal(given, 700);
	assert_int_equal(numbering_next(&n), 0);
	assert_true(numbering_is_valid(&n, 2500));
	assert_false(numbering_is_valid(&n, 2501));
}

static int ascending(const void *left, const void *right)
{
	const uint64_t l = *(const uint64_t *)left, r = *(const uint64_t *)right;

	return l < r ? -1 : l > r;
}

/* Against the definition: sorted, each at most a reach above the one before. */
static void test_random(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15ULL;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t found[12], highest = 0;
		const unsigned count = round % 12 + 1;
		struct numbering n;

		for (unsigned i = 0; i < count; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			found[i] = 1 + (seed >> 33) % 8000;
		}
		n = numbering_of(100000, found, count);
		qsort(found, count, sizeof(found[0]), ascending);
		for (unsigned i = 0; i < count && found[i] - highest <= REACH; i++)
			highest = found[i];
		assert_int_equal(numbering_next(&n), highest + 1);
	}
}

/* As the ledger uses it, up to the highest number that there is. */
static void test_serials(void **state)
{
	struct numbering n;

	(void)state;
	numbering_begin(&n, SERIAL_MAX, SERIAL_REACH);
	numbering_found(&n, SERIAL_MAX);
	numbering_found(&n, 41);
	assert_int_equal(numbering_next(&n), 42);
	assert_false(numbering_is_valid(&n, SERIAL_MAX));
	for (uint64_t i = 1; i <= SERIAL_MAX / SERIAL_REACH; i++)
		numbering_found(&n, i * SERIAL_REACH);
	assert_int_equal(numbering_next(&n), 0);
	assert_true(numbering_is_valid(&n, SERIAL_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on_after_the_highest),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_all_are_given),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_serials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
