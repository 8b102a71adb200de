/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands and options: what parsing, help and completion rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ctl/menu.h"

static bool same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* No report has two options of one name or letter. */
static void test_nothing_is_ambiguous(void **state)
{
	(void)state;
	for (size_t i = 0; i < menu_noptions; i++) {
		for (size_t k = i + 1; k < menu_noptions; k++) {
			const struct menu_option *a = &menu_options[i], *b = &menu_options[k];

			if (!(a->reports & b->reports))
				continue;
			if (same(a->name, b->name) || (a->letter && a->letter == b->letter))
				fail_msg("--%s and --%s", a->name, b->name);
		}
	}
}

/* getopt(3) is told of a name and of a letter once: whether they take a value does not depend on the command. */
static void test_values_are_the_same_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < menu_noptions; i++) {
		for (size_t k = i + 1; k < menu_noptions; k++) {
			const struct menu_option *a = &menu_options[i], *b = &menu_options[k];

			if (same(a->name, b->name) || (a->letter && a->letter == b->letter))
				assert_int_equal(a->value == NULL, b->value == NULL);
		}
	}
}

static void test_entries_are_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < menu_noptions; i++) {
		const struct menu_option *o = &menu_options[i];

		assert_true(o->name && o->name[0] && o->reports);
		assert_int_equal(o->reports & ~REPORT_BITS_ALL, 0);
		assert_true(!menu_is_choice(o) || (o->words && o->value));
		/* the old name of an option stands beside the new one */
		for (size_t k = 0; !o->help; k++) {
			assert_true(k < menu_noptions);
			if (menu_options[k].help && menu_options[k].id == o->id &&
				(menu_options[k].reports & o->reports) == o->reports)
				break;
		}
	}
	for (unsigned i = 0; i < MENU_COMMANDS; i++) {
		const struct menu_command *c = &menu_commands[i];

		assert_true(c->name && c->summary && c->about);
		assert_int_equal(menu_find_command(c->name), i);
		if (i < REPORT_COMMANDS)
			assert_string_equal(c->name, report_words((enum report)i));
	}
}

/* Every option of every report is one of a command. */
static void test_reports_of_commands(void **state)
{
	unsigned all = 0;

	(void)state;
	for (unsigned i = 0; i < MENU_COMMANDS; i++)
		all |= menu_reports(i);
	assert_int_equal(all, REPORT_BITS_ALL);
	assert_int_equal(menu_reports(MENU_COMPLETION), 0);
	assert_int_equal(menu_reports(MENU_COMMANDS), 0);
}

static void test_find(void **state)
{
	char owners[256];

	(void)state;
	assert_int_equal(menu_find("limit", 0, REPORT_LEAKS)->letter, 'T');
	assert_int_equal(menu_find("limit", 0, REPORT_MAP)->letter, 0);
	assert_int_equal(menu_find("top", 0, REPORT_LEAKS)->id, OPTION_LIMIT);
	assert_null(menu_find("top", 0, REPORT_MAP));
	assert_int_equal(menu_find(NULL, 'j', REPORT_STATUS)->id, OPTION_JSON);
	assert_null(menu_find(NULL, 'T', REPORT_MAP));
	assert_null(menu_find(NULL, '\0', REPORT_MAP));
	assert_null(menu_find("", 0, REPORT_MAP));
	assert_int_equal(menu_find_command("sess"), MENU_COMMANDS);
	menu_put_owners(menu_find("blocks", 0, REPORT_MAP), owners, sizeof(owners));
	assert_string_equal(owners, "map");
	menu_put_owners(menu_find("ack", 0, REPORT_ACKNOWLEDGE), owners, sizeof(owners));
	assert_string_equal(owners, "leaks");
}

static void test_words(void **state)
{
	(void)state;
	assert_true(menu_has_word("one two three", "two", 3));
	assert_true(menu_has_word("one two three", "three", 5));
	assert_false(menu_has_word("one two three", "tw", 2));
	assert_false(menu_has_word("one two three", "two three", 9));
	assert_false(menu_has_word("one two three", "", 0));
	assert_false(menu_has_word("", "", 0));
	assert_false(menu_has_word(NULL, "one", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_ambiguous),
		cmocka_unit_test(test_values_are_the_same_everywhere),
		cmocka_unit_test(test_entries_are_whole),
		cmocka_unit_test(test_reports_of_commands),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
