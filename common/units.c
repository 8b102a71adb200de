/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MINUTE_MS UINT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number, an optional fraction and one of the units, and nothing else. */
static int parse_scaled(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
	char *end;
	double value;

	if (!text || (!isdigit((unsigned char)*text) && *text != '.'))
		return -EINVAL;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return -EINVAL;
	errno = 0;
	value = strtod(text, &end);
	if (errno == ERANGE)
		return -ERANGE;
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(end, units[i].name) != 0)
			continue;
		value *= (double)units[i].factor;
		if (!(value < 9223372036854775808.0))
			return -ERANGE;
		*out = (uint64_t)(value + 0.5);
		return 0;
	}
	return -EINVAL;
}

int units_parse_bytes(const char *text, uint64_t *out_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "K", KIB },
		{ "KB", KIB },
		{ "KiB", KIB },
		{ "M", MIB },
		{ "MB", MIB },
		{ "MiB", MIB },
		{ "G", GIB },
		{ "GB", GIB },
		{ "GiB", GIB },
		{ "T", KIB * GIB },
		{ "TB", KIB * GIB },
		{ "TiB", KIB * GIB },
	};

	return parse_scaled(text, units, sizeof(units) / sizeof(units[0]), out_bytes);
}

int units_parse_duration(const char *text, uint64_t *out_ms)
{
	static const struct unit units[] = {
		{ "", 1000 },
		{ "ms", 1 },
		{ "s", 1000 },
		{ "m", MINUTE_MS },
		{ "min", MINUTE_MS },
		{ "h", HOUR_MS },
		{ "d", DAY_MS },
	};

	return parse_scaled(text, units, sizeof(units) / sizeof(units[0]), out_ms);
}

const char *units_format_bytes(uint64_t bytes, char *buf, size_t size)
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < KIB) {
		snprintf(buf, size, "%" PRIu64 " B", bytes);
		return buf;
	}
	while (value >= 1023.95 && i + 1 < sizeof(names) / sizeof(names[0])) {
		value /= 1024;
		i++;
	}
	snprintf(buf, size, "%.1f %s", value, names[i]);
	return buf;
}

const char *units_format_duration(uint64_t ms, char *buf, size_t size)
{
	uint64_t s = ms / 1000;

	if (ms < 10000)
		snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (ms < 2 * MINUTE_MS)
		snprintf(buf, size, "%" PRIu64 "s", s);
	else if (ms < 2 * HOUR_MS)
		snprintf(buf, size, "%" PRIu64 "m", ms / MINUTE_MS);
	else if (ms < 2 * DAY_MS)
		snprintf(buf, size, "%" PRIu64 "h", ms / HOUR_MS);
	else
		snprintf(buf, size, "%" PRIu64 "d", ms / DAY_MS);
	return buf;
}
