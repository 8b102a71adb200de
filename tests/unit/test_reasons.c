/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences of failures that are kept for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "client/data/reasons.h"

#define KEPT 16

static struct reasons *reasons;

static uint32_t add(unsigned n)
{
	struct errinfo errinfo;

	snprintf(errinfo.text, sizeof(errinfo.text), "sentence %u", n);
	return reasons_add(reasons, &errinfo);
}

static void check(uint32_t number, unsigned n)
{
	char text[32];

	snprintf(text, sizeof(text), "sentence %u", n);
	assert_non_null(reasons_find(reasons, number));
	assert_string_equal(reasons_find(reasons, number)->text, text);
}

/* From this number on: each is found until as many as are kept have come after it, and then never again. */
static void run(uint32_t last)
{
	uint32_t numbers[4 * KEPT];

	reasons = reasons_create(KEPT);
	assert_non_null(reasons);
	reasons->last = last;
	for (unsigned i = 0; i < 4 * KEPT; i++) {
		numbers[i] = add(i);
		assert_in_range(numbers[i], 1, REASONS_NUMBER_MAX);
		assert_int_equal(add(i), numbers[i]); /* the same again */
		for (unsigned k = 0; k <= i; k++) {
			if (i - k < KEPT - 1)
				check(numbers[k], k);
			else if (i - k > KEPT)
				assert_null(reasons_find(reasons, numbers[k]));
		}
	}
	free(reasons);
}

static void test_kept(void **state)
{
	(void)state;
	run(0);
	run(1000);
	run(REASONS_NUMBER_MAX - 5); /* numbers begin again */
}

static void test_nothing(void **state)
{
	const struct errinfo silent = { "" }, something = { "something" };

	(void)state;
	reasons = reasons_create(1);
	assert_non_null(reasons);
	assert_int_equal(reasons_add(reasons, &silent), 0);
	assert_int_equal(reasons_add(NULL, &something), 0);
	assert_null(reasons_find(reasons, 0));
	assert_null(reasons_find(reasons, 7));
	assert_null(reasons_find(reasons, UINT32_MAX));
	assert_int_equal(reasons_add(reasons, &something), 1);
	assert_string_equal(reasons_find(reasons, 1)->text, "something");
	free(reasons);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
