/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/render_quota.h"

#include <inttypes.h>
#include <string.h>

#include "common/units.h"
#include "ctl/render.h"
#include "ctl/reports.h"
#include "ctl/sheet.h"
#include "ctl/text.h"

static const char *const kinds[] = { "bytes", "blocks", "objects", "windows" };

#define KINDS_COUNT (sizeof(kinds) / sizeof(kinds[0]))

void quota_put_limits(FILE *out, const json_t *limits, struct check *c)
{
	char buf[UNITS_TEXT_SIZE];
	bool any = false;

	for (size_t i = 0; i < KINDS_COUNT; i++) {
		const int64_t most = field_int_or_null(c, limits, kinds[i]);

		if (most < 0)
			continue;
		fprintf(out, "%s%s ", any ? ", " : "", kinds[i]);
		if (i == 0)
			fputs(units_format_bytes((uint64_t)most, buf, sizeof(buf)), out);
		else
			fprintf(out, "%" PRId64, most);
		any = true;
	}
	if (!any)
		fputs("none", out);
}

/* Rounded down: 100% is said only of what is used up. */
static uint64_t percent(uint64_t used, uint64_t most)
{
	return most ? (uint64_t)(100.0 * (double)used / (double)most) : 0;
}

const char *quota_format_use(const json_t *quota, char *buf, size_t size, struct check *c)
{
	const json_t *used, *limit;
	uint64_t largest = 0;

	buf[0] = '\0';
	if (!json_is_object(quota))
		return buf;
	used = field_object(c, quota, "used");
	limit = field_object(c, quota, "limit");
	for (size_t i = 0; i < KINDS_COUNT; i++) {
		const int64_t most = field_int_or_null(c, limit, kinds[i]);
		const uint64_t share =
			most < 0 ? 0 : percent(field_uint(c, used, kinds[i]), (uint64_t)most);

		if (most < 0 || (buf[0] && share <= largest))
			continue;
		largest = share;
		snprintf(buf, size, "%s %" PRIu64 "%%", kinds[i], share);
	}
	return buf;
}

static void put_rules(FILE *out, const json_t *quotas, struct check *c)
{
	json_t *named;
	size_t i;

	fputs("each session  ", out);
	quota_put_limits(out, field_object(c, quotas, "session"), c);
	fputs("\neach job      ", out);
	quota_put_limits(out, field_object(c, quotas, "job"), c);
	putc('\n', out);
	json_array_foreach(field_list(c, quotas, "named"), i, named)
	{
		fputs("job ", out);
		text_put(out, field_text(c, named, "job"));
		fputs("  ", out);
		quota_put_limits(out, field_object(c, named, "limit"), c);
		putc('\n', out);
	}
}

static int put_jobs(FILE *out, const json_t *jobs, struct check *c)
{
	static const struct sheet_column columns[] = { { "JOB", false }, { "UID", true },
		{ "SESSIONS", true }, { "BYTES", true }, { "BLOCKS", true }, { "OBJECTS", true },
		{ "QUOTA", false } };
	struct sheet s;
	char buf[40];
	json_t *job;
	size_t i;

	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(jobs, i, job)
	{
		const json_t *quota = field_object(c, job, "quota");
		const json_t *used = field_object(c, quota, "used");

		sheet_row(&s);
		sheet_text(&s, field_text(c, job, "job"));
		sheet_number(&s, field_int(c, job, "uid"));
		sheet_number(&s, field_int(c, job, "sessions"));
		sheet_bytes(&s, field_uint(c, used, "bytes"));
		sheet_number(&s, field_int(c, used, "blocks"));
		sheet_number(&s, field_int(c, used, "objects"));
		sheet_text(&s, quota_format_use(quota, buf, sizeof(buf), c));
	}
	return sheet_finish(&s, out);
}

int render_quota(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *jobs = field_list(c, answer, "jobs");
	const uint64_t total = field_uint(c, answer, "jobs_total");
	int err;

	(void)view;
	put_rules(out, field_object(c, answer, "quotas"), c);
	if (total)
		putc('\n', out);
	err = put_jobs(out, jobs, c);
	if (total > json_array_size(jobs))
		fprintf(out, "and %" PRIu64 " more jobs\n", total - json_array_size(jobs));
	return err;
}
