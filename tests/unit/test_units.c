/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <cmocka.h>

#include "common/units.h"

#define UNTOUCHED 0xdeadbeefULL
#define TIB (1024 * GIB)
#define SECOND 1000ULL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

struct parse_case {
	const char *text;
	int ret;
	uint64_t value;
};

static void parse_all(
	const struct parse_case *cases, size_t n, int (*parse)(const char *text, uint64_t *out))
{
	for (size_t i = 0; i < n; i++) {
		uint64_t expected = cases[i].ret ? UNTOUCHED : cases[i].value;
		uint64_t value = UNTOUCHED;
		int ret = parse(cases[i].text, &value);

		if (ret != cases[i].ret || value != expected)
			fail_msg("\"%s\": %d, %" PRIu64 " instead of %d, %" PRIu64,
				cases[i].text ? cases[i].text : "(null)", ret, value, cases[i].ret,
				expected);
	}
}

static void parse_bytes(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1 },
		{ "4096", 0, 4096 },
		{ "512B", 0, 512 },
		{ "64K", 0, 64 * KIB },
		{ "64k", 0, 64 * KIB },
		{ "64KB", 0, 64 * KIB },
		{ "64KiB", 0, 64 * KIB },
		{ "64kib", 0, 64 * KIB },
		{ "3M", 0, 3 * MIB },
		{ "3MiB", 0, 3 * MIB },
		{ "1.5G", 0, GIB + GIB / 2 },
		{ ".5K", 0, 512 },
		{ "2T", 0, 2 * TIB },
		{ "0.4B", 0, 0 },
		{ "0.6", 0, 1 },
		{ "8388607T", 0, 8388607 * TIB },
		{ "007", 0, 7 },
		{ "8388608T", -ERANGE, 0 },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "1e999", -ERANGE, 0 },
		{ NULL, -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1KK", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1.2.3", -EINVAL, 0 },
		{ "1,5G", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "0X10", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
		{ "nan", -EINVAL, 0 },
		{ "1s", -EINVAL, 0 },
		{ "12\n", -EINVAL, 0 },
	};

	(void)state;
	parse_all(cases, sizeof(cases) / sizeof(cases[0]), units_parse_bytes);
}

static void parse_duration(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "10", 0, 10 * SECOND },
		{ "250ms", 0, 250 },
		{ "10s", 0, 10 * SECOND },
		{ "1.5s", 0, 1500 },
		{ "5m", 0, 5 * MINUTE },
		{ "5min", 0, 5 * MINUTE },
		{ "24h", 0, 24 * HOUR },
		{ "7d", 0, 7 * DAY },
		{ "0.5d", 0, 12 * HOUR },
		{ "10S", 0, 10 * SECOND },
		{ "99999999999999999999d", -ERANGE, 0 },
		{ "106751991168d", -ERANGE, 0 },
		{ NULL, -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "-5s", -EINVAL, 0 },
		{ "5y", -EINVAL, 0 },
		{ "5sec", -EINVAL, 0 },
		{ "1h30m", -EINVAL, 0 },
		{ "10 s", -EINVAL, 0 },
		{ "1K", -EINVAL, 0 },
	};

	(void)state;
	parse_all(cases, sizeof(cases) / sizeof(cases[0]), units_parse_duration);
}

struct format_case {
	uint64_t value;
	const char *text;
};

static void format_all(const struct format_case *cases, size_t n,
	const char *(*format)(uint64_t value, char *buf, size_t size))
{
	for (size_t i = 0; i < n; i++) {
		char buf[UNITS_TEXT_SIZE], tight[4] = "???";

		assert_ptr_equal(format(cases[i].value, buf, sizeof(buf)), buf);
		assert_string_equal(buf, cases[i].text);
		format(cases[i].value, tight, 3);
		assert_int_equal(strncmp(tight, cases[i].text, 2), 0);
		assert_int_equal(tight[2], '\0');
	}
}

static void format_bytes(void **state)
{
	static const struct format_case cases[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ KIB, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ MIB - 1, "1.0 MiB" }, /* never "1024.0 KiB" */
		{ 1023 * KIB, "1023.0 KiB" },
		{ MIB, "1.0 MiB" },
		{ 56 * MIB, "56.0 MiB" },
		{ 64 * GIB, "64.0 GiB" },
		{ 5 * TIB + TIB / 2, "5.5 TiB" },
		{ TIB * KIB, "1.0 PiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};

	(void)state;
	format_all(cases, sizeof(cases) / sizeof(cases[0]), units_format_bytes);
}

static void format_duration(void **state)
{
	static const struct format_case cases[] = {
		{ 0, "0.0s" },
		{ 99, "0.0s" },
		{ 200, "0.2s" },
		{ 9999, "9.9s" },
		{ 10 * SECOND, "10s" },
		{ 75 * SECOND, "75s" },
		{ 2 * MINUTE - 1, "119s" },
		{ 2 * MINUTE, "2m" },
		{ 11 * MINUTE, "11m" },
		{ 2 * HOUR - 1, "119m" },
		{ 3 * HOUR, "3h" },
		{ 2 * DAY - 1, "47h" },
		{ 2 * DAY, "2d" },
		{ UINT64_MAX, "213503982334d" },
	};

	(void)state;
	format_all(cases, sizeof(cases) / sizeof(cases[0]), units_format_duration);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_bytes),
		cmocka_unit_test(parse_duration),
		cmocka_unit_test(format_bytes),
		cmocka_unit_test(format_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
