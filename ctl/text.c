/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/units.h"

void text_put(FILE *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f) {
			fprintf(out, "\\x%02x", *p);
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			/* U+0080 to U+009F: terminals obey these too */
			fprintf(out, "\\x%02x", p[1]);
			p++;
		} else {
			putc(*p, out);
		}
	}
}

char *text_clean(const char *text)
{
	char *clean = NULL;
	size_t size;
	FILE *stream = open_memstream(&clean, &size);

	if (!stream)
		return NULL;
	text_put(stream, text);
	if (fclose(stream) != 0) {
		free(clean);
		return NULL;
	}
	return clean;
}

const char *text_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

void text_put_share(FILE *out, uint64_t bytes, uint64_t blocks)
{
	char buf[UNITS_TEXT_SIZE];

	if (blocks == 0 && bytes == 0)
		putc('0', out);
	else
		fprintf(out, "%s in %" PRIu64 " block%s",
			units_format_bytes(bytes, buf, sizeof(buf)), blocks,
			blocks == 1 ? "" : "s");
}

void text_put_mixed_share(FILE *out, uint64_t bytes, uint64_t blocks, uint64_t objects)
{
	char buf[UNITS_TEXT_SIZE];

	if (objects && objects == blocks)
		fputs(units_format_bytes(bytes, buf, sizeof(buf)), out);
	else
		text_put_share(out, bytes, blocks - objects);
	if (objects)
		fprintf(out, " %s %" PRIu64 " object%s", objects == blocks ? "in" : "and", objects,
			objects == 1 ? "" : "s");
}

void text_put_duration(FILE *out, uint64_t ms)
{
	char buf[UNITS_TEXT_SIZE];

	fputs(units_format_duration(ms, buf, sizeof(buf)), out);
}

const char *text_format_time(uint64_t real_ns, char *buf, size_t size)
{
	time_t seconds = (time_t)(real_ns / NSEC_PER_SEC);
	struct tm tm;

	if (real_ns == 0 || !gmtime_r(&seconds, &tm) ||
		strftime(buf, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		return "never";
	return buf;
}
