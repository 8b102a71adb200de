/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/plain_text.h"

static void test_examples(void **state)
{
	static const char *const examples[][2] = {
		{ "", "" },
		{ "main (file.c:3)", "main (file.c:3)" },
		{ "a\nb\tc\x1b[2Jd\x7f", "a?b?c?[2Jd?" },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
			"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x85 \xc2\x9f \xc2\xa0", "?? ?? \xc2\xa0" },
		{ "\x80\xbf\xc0\x80\xc1\xbf", "??????" },        /* none begins so */
		{ "\xe0\x80\x80 \xf0\x80\x80\x80", "??? ????" }, /* longer than needed */
		{ "\xed\xa0\x80 \xf4\x90\x80\x80 \xf5", "??? ???? ?" },
		{ "cut \xe2\x82", "cut ??" },
		{ "cut \xf0\x9f\x98", "cut ???" },
		{ "cut \xc3", "cut ?" },
		{ "\xe2(\xa9", "?(?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		char text[64];

		strcpy(text, examples[i][0]);
		plain_text(text);
		assert_string_equal(text, examples[i][1]);
	}
}

/* Whatever the bytes: as many, no control characters, and done again nothing changes. */
static void test_any_bytes(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (unsigned round = 0; round < 100000; round++) {
		char text[9] = "", again[9];

		for (unsigned i = 0; i < 8; i++)
			text[i] = (char)(1 + rand_r(&seed) % 255);
		plain_text(text);
		assert_int_equal(strlen(text), 8);
		for (unsigned i = 0; i < 8; i++)
			assert_true((uint8_t)text[i] >= 0x20 && text[i] != 0x7f);
		memcpy(again, text, sizeof(text));
		plain_text(again);
		assert_string_equal(text, again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
