/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/wire.h"

static void integers_are_in_network_byte_order(void **state)
{
	static const uint8_t expected[] = {
		0x01,
		0x23,
		0x45,
		0x67,
		0x89,
		0xab,
		0xcd,
		0xfe,
		0xdc,
		0xba,
		0x98,
		0x76,
		0x54,
		0x32,
		0x10,
	};
	uint8_t buf[sizeof(expected)];
	struct wire w = wire_over(buf, sizeof(buf));

	(void)state;
	wire_put_u8(&w, 0x01);
	wire_put_u16(&w, 0x2345);
	wire_put_u32(&w, 0x6789abcd);
	wire_put_u64(&w, 0xfedcba9876543210ULL);
	assert_int_equal(wire_finish(&w), 0);
	assert_memory_equal(buf, expected, sizeof(expected));

	w = wire_over(buf, sizeof(buf));
	assert_int_equal(wire_get_u8(&w), 0x01);
	assert_int_equal(wire_get_u16(&w), 0x2345);
	assert_int_equal(wire_get_u32(&w), 0x6789abcd);
	assert_true(wire_get_u64(&w) == 0xfedcba9876543210ULL);
	assert_int_equal(wire_finish(&w), 0);
}

/* One byte short of each integer: fails, gives 0, moves nothing, and stays failed. */
static void too_few_bytes_stick(void **state)
{
	for (unsigned width = 1; width <= 8; width *= 2) {
		uint8_t *buf = malloc(width);
		struct wire w = wire_over(buf, width - 1);
		uint64_t v = 0;

		(void)state;
		assert_non_null(buf);
		memset(buf, 0xff, width);
		switch (width) {
		case 1:
			v = wire_get_u8(&w);
			break;
		case 2:
			v = wire_get_u16(&w);
			break;
		case 4:
			v = wire_get_u32(&w);
			break;
		case 8:
			v = wire_get_u64(&w);
			break;
		}
		assert_true(v == 0);
		assert_true(w.failed);
		assert_int_equal(w.pos, 0);
		if (width > 1)
			assert_int_equal(
				wire_get_u8(&w), 0); /* a byte is there, but it is too late */
		assert_int_equal(wire_finish(&w), -EBADMSG);
		free(buf);
	}
}

static void a_put_that_does_not_fit_writes_nothing(void **state)
{
	uint8_t buf[4] = { 9, 9, 9, 9 };
	static const uint8_t untouched[4] = { 9, 9, 9, 9 };
	struct wire w = wire_over(buf, 3);

	(void)state;
	wire_put_u32(&w, 0);
	assert_true(w.failed);
	wire_put_u8(&w, 0); /* would fit, but the message is broken already */
	assert_memory_equal(buf, untouched, sizeof(buf));
}

static void huge_lengths_do_not_wrap(void **state)
{
	uint8_t buf[8] = { 0 }, out[8];
	struct wire w = wire_over(buf, sizeof(buf));

	(void)state;
	wire_get_u32(&w);
	wire_put_bytes(&w, buf, SIZE_MAX);
	assert_true(w.failed);
	w.failed = false;
	wire_put_bytes(&w, buf, SIZE_MAX - 3);
	assert_true(w.failed);
	assert_int_equal(w.pos, 4);
	w.failed = false;
	memset(out, 0xff, sizeof(out));
	wire_get_bytes(&w, out, 5);
	assert_true(w.failed);
	assert_int_equal(out[0] | out[1] | out[2] | out[3] | out[4], 0);
	assert_int_equal(out[5], 0xff);
}

static void leftover_bytes_are_an_error(void **state)
{
	uint8_t buf[2] = { 0 };
	struct wire w = wire_over(buf, sizeof(buf));

	(void)state;
	assert_int_equal(wire_finish(&w), -EBADMSG);
	wire_get_u8(&w);
	assert_int_equal(wire_finish(&w), -EBADMSG);
	wire_get_u8(&w);
	assert_int_equal(wire_finish(&w), 0);
}

static void nothing_is_a_message_too(void **state)
{
	uint8_t byte;
	struct wire w = wire_over(&byte, 0);

	(void)state;
	wire_put_bytes(&w, NULL, 0);
	wire_get_bytes(&w, NULL, 0);
	assert_int_equal(wire_finish(&w), 0);
}

struct text_case {
	const char *what;
	const char *bytes; /* as on the wire */
	size_t n;
	int ret;          /* of wire_finish() */
	const char *text; /* with room for 4 characters and the terminator */
};

static void texts(void **state)
{
	static const struct text_case cases[] = {
		{ "empty", "\0\0", 2, 0, "" },
		{ "short", "\0\2hi", 4, 0, "hi" },
		{ "just fits", "\0\4four", 6, 0, "four" },
		{ "no room for the terminator", "\0\5fiver", 7, -EBADMSG, "" },
		{ "NUL at the start", "\0\2\0x", 4, -EBADMSG, "" },
		{ "NUL inside", "\0\3a\0b", 5, -EBADMSG, "" },
		{ "NUL at the end", "\0\2a\0", 4, -EBADMSG, "" },
		{ "fewer bytes than told", "\0\3ab", 4, -EBADMSG, "" },
		{ "more bytes than told", "\0\1ab", 4, -EBADMSG, "a" },
		{ "half a length", "\0", 1, -EBADMSG, "" },
		{ "no length", "", 0, -EBADMSG, "" },
		{ "largest length", "\377\377ab", 4, -EBADMSG, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct text_case *c = &cases[i];
		uint8_t *copy = malloc(c->n + 1);
		char out[5 + 1] = "?????";
		struct wire w;

		assert_non_null(copy);
		memcpy(copy, c->bytes, c->n);
		w = wire_over(copy, c->n);
		wire_get_text(&w, out, 5);
		if (wire_finish(&w) != c->ret || strcmp(out, c->text) != 0)
			fail_msg("%s: got \"%s\" and %d", c->what, out, wire_finish(&w));
		free(copy);
	}
}

static void texts_too_long_for_their_length_field_are_not_put(void **state)
{
	size_t n = UINT16_MAX + 1;
	char *text = malloc(n + 1);
	uint8_t *buf = malloc(2 * n);
	struct wire w = wire_over(buf, 2 * n);

	(void)state;
	assert_non_null(text);
	assert_non_null(buf);
	memset(text, 'x', n);
	text[n] = '\0';
	wire_put_text(&w, text);
	assert_true(w.failed);
	assert_int_equal(w.pos, 0);

	w = wire_over(buf, 2 * n);
	text[n - 1] = '\0';
	wire_put_text(&w, text);
	assert_false(w.failed);
	assert_int_equal(w.pos, 2 + UINT16_MAX);
	free(buf);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_in_network_byte_order),
		cmocka_unit_test(too_few_bytes_stick),
		cmocka_unit_test(a_put_that_does_not_fit_writes_nothing),
		cmocka_unit_test(huge_lengths_do_not_wrap),
		cmocka_unit_test(leftover_bytes_are_an_error),
		cmocka_unit_test(nothing_is_a_message_too),
		cmocka_unit_test(texts),
		cmocka_unit_test(texts_too_long_for_their_length_field_are_not_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
