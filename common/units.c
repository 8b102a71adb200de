/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

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
		{ "", 1 }, { "B", 1 }, { "K", KIB }, { "KB", KIB }, { "KiB", KIB }, { "M", MIB },
		{ "MB", MIB }, { "MiB", MIB }, { "G", GIB }, { "GB", GIB }, { "GiB", GIB },
		{ "T", KIB * GIB }, { "TB", KIB * GIB }, { "TiB", KIB * GIB },
	};

	return parse_scaled(text, units, sizeof(units) / sizeof(units[0]), out_bytes);
}

int units_parse_duration(const char *text, uint64_t *out_ms)
{
	static const struct unit units[] = {
		{ "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "min", 60 * 1000 },
		{ "h", 3600 * 1000 }, { "d", 86400ULL * 1000 },
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

	if (ms < 10 * 1000)
		snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (s < 120)
		snprintf(buf, size, "%" PRIu64 "s", s);
	else if (s < 2 * 3600)
		snprintf(buf, size, "%" PRIu64 "m", s / 60);
	else if (s < 2 * 86400)
		snprintf(buf, size, "%" PRIu64 "h", s / 3600);
	else
		snprintf(buf, size, "%" PRIu64 "d", s / 86400);
	return buf;
}
