/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes and durations as anybody may type them, and what comes out printed. */
#include <errno.h>
#include <string.h>

#include "common/units.h"
#include "tests/fuzz/fuzz.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aULL

static void check(
	int ret, uint64_t value, const char *(*format)(uint64_t value, char *buf, size_t size))
{
	char text[UNITS_TEXT_SIZE];

	if (ret) {
		FUZZ_EXPECT(ret == -EINVAL || ret == -ERANGE);
		FUZZ_EXPECT(value == UNTOUCHED);
		return;
	}
	FUZZ_EXPECT(value <= 1ULL << 63);
	memset(text, 'x', sizeof(text));
	FUZZ_EXPECT(format(value, text, sizeof(text)) == text);
	FUZZ_EXPECT(strnlen(text, sizeof(text)) < sizeof(text) - 1); /* cut short would be wrong */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	uint64_t value = UNTOUCHED;
	int ret;

	ret = units_parse_bytes(text, &value);
	check(ret, value, units_format_bytes);
	value = UNTOUCHED;
	ret = units_parse_duration(text, &value);
	check(ret, value, units_format_duration);
	free(text);
	return 0;
}
