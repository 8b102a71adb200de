/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that are longer than there is room for, or more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/site_names.h"

#define LONGEST (sizeof(((struct site_name *)0)->function) - 1)

/* As instances of one template: they differ at their end. */
static void instance(char out[1024], unsigned i)
{
	memset(out, 'a', 1000);
	snprintf(out + 1000, 24, "%u", i);
}

static void test_instances_stay_distinct(void **state)
{
	char name[1024], one[112], other[112], again[112];

	(void)state;
	instance(name, 1);
	site_names_cut(one, sizeof(one), name);
	site_names_cut(again, sizeof(again), name);
	instance(name, 2);
	site_names_cut(other, sizeof(other), name);
	assert_int_equal(strlen(one), 111);
	assert_int_equal(strlen(other), 111);
	assert_memory_equal(one, name, 111 - 9);
	assert_int_equal(one[111 - 9], '~');
	assert_string_equal(one, again);
	assert_string_not_equal(one, other);
}

static void test_what_fits_stays(void **state)
{
	char out[8];

	(void)state;
	memset(out, 'x', sizeof(out));
	site_names_cut(out, sizeof(out), "1234567");
	assert_string_equal(out, "1234567");
	site_names_cut(out, sizeof(out), "");
	assert_memory_equal(out, "\0\0\0\0\0\0\0\0", 8);
}

/* "ä" is two bytes, and is there or not. */
static void test_characters_are_whole(void **state)
{
	char out[14];

	(void)state;
	site_names_cut(out, sizeof(out), "abc\xc3\xa4longer than that");
	assert_memory_equal(out, "abc~", 4);
	assert_int_equal(strlen(out), 12);
	site_names_cut(out, sizeof(out), "ab\xc3\xa4longer than that");
	assert_memory_equal(out, "ab\xc3\xa4~", 5);
	assert_int_equal(strlen(out), 13);
}

static struct site_names_request names_of(unsigned frames, unsigned inlined, size_t length)
{
	struct site_names_request names = { .site = 1 };

	for (unsigned f = 0; f < frames; f++)
		for (unsigned i = 0; i <= inlined; i++) {
			struct site_name *n = &names.names[names.nnames++];

			memset(n->function, 'a' + (int)f, length - 2);
			snprintf(n->function + length - 2, 3, "%02u", i);
			memset(n->file, 'f', sizeof(n->file) - 1);
			n->line = 100 * f + i;
			n->inlined = i < inlined;
		}
	return names;
}

static void test_as_many_as_there_can_be(void **state)
{
	(void)state;
	for (unsigned inlined = 0; inlined <= 2; inlined++)
		for (size_t length = 10; length <= LONGEST; length += 10) {
			struct site_names_request names = names_of(SITE_DEPTH_MAX, inlined, length);
			unsigned frame = 0;

			site_names_fit(&names);
			assert_true(site_names_are_possible(&names, SITE_DEPTH_MAX));
			/* The last name of a frame is never missing, nor is what comes first. */
			for (unsigned i = 0; i < names.nnames; i++)
				if (!names.names[i].inlined)
					assert_int_equal(
						names.names[i].line, 100 * frame++ + inlined);
			assert_int_equal(frame, SITE_DEPTH_MAX);
			assert_memory_equal(names.names[0].function, "aaaaaaaa", 8);
		}
}

/* Where only some are long, the innermost frames keep their names whole. */
static void test_innermost_stay_whole(void **state)
{
	struct site_names_request names = names_of(8, 0, LONGEST);

	(void)state;
	site_names_fit(&names);
	assert_true(site_names_are_possible(&names, 8));
	assert_int_equal(strlen(names.names[0].function), LONGEST);
	assert_in_range(strlen(names.names[7].function), 100, 255);
	names = names_of(5, 0, LONGEST);
	site_names_fit(&names);
	assert_int_equal(strlen(names.names[4].function), LONGEST);
}

static void test_impossible(void **state)
{
	struct site_names_request names = names_of(2, 1, 20);

	(void)state;
	assert_true(site_names_are_possible(&names, 2));
	assert_false(site_names_are_possible(&names, 4));
	assert_false(site_names_are_possible(&names, 1));
	memset(names.names[3].function, 'x', sizeof(names.names[3].function));
	assert_false(site_names_are_possible(&names, 2));
	names = names_of(0, 0, 20);
	assert_false(site_names_are_possible(&names, 0));
	names.nnames = SITE_NAMES_MAX + 1;
	assert_false(site_names_are_possible(&names, SITE_NAMES_MAX + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_instances_stay_distinct),
		cmocka_unit_test(test_what_fits_stays),
		cmocka_unit_test(test_characters_are_whole),
		cmocka_unit_test(test_as_many_as_there_can_be),
		cmocka_unit_test(test_innermost_stay_whole),
		cmocka_unit_test(test_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
