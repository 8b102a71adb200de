/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <string.h>

#include "ctl/parts.h"
#include "ctl/render_quota.h"
#include "ctl/select.h"
#include "ctl/sheet.h"
#include "ctl/text.h"

enum cell { TEXT, SHORT_ID, BASENAME, NUMBER, BYTES, DURATION, TIME, QUOTA };

#define COLUMNS_MAX 32 /* that may be asked for */

/* All columns that there are, in the order of -o wide and what follows it. */
static const struct column {
	const char *name, *title, *field;
	enum cell cell;
	bool usual; /* shown if nobody says what to show */
	bool wide;  /* shown by "wide" */
} columns[] = {
	{ "session", "SESSION", "session", SHORT_ID, true, true },
	{ "state", "STATE", "state", TEXT, true, true },
	{ "for", "FOR", "state_for_ms", DURATION, true, true },
	{ "lease", "LEASE", "lease", TEXT, false, true },
	{ "seen", "SEEN", "seen_ago_ms", DURATION, false, true },
	{ "channels", "CHANNELS", "channels", NUMBER, false, true },
	{ "blocks", "BLOCKS", "blocks", NUMBER, false, true },
	{ "bytes", "BYTES", "bytes", BYTES, true, true },
	{ "lent", "LENT", "block_bytes", BYTES, false, true },
	{ "host", "HOST", "host", TEXT, true, true },
	{ "uid", "UID", "uid", NUMBER, false, true },
	{ "pid", "PID", "pid", NUMBER, true, true },
	{ "job", "JOB", "job", TEXT, true, true },
	{ "exe", "EXE", "exe", BASENAME, true, true },
	{ "id", "ID", "session", TEXT, false, false },
	{ "opened", "OPENED", "opened_ns", TIME, false, false },
	{ "slabs", "SLABS", "slabs", NUMBER, false, false },
	{ "journal", "JOURNAL", "journal", TEXT, false, false },
	{ "journal-age", "JOURNAL-AGE", "journal_age_ms", DURATION, false, false },
	{ "quota", "QUOTA", "quota", QUOTA, false, false },
	{ "job-quota", "JOB-QUOTA", "job_quota", QUOTA, false, false },
	{ "evidence", "EVIDENCE", "evidence_text", TEXT, false, false },
	{ "command", "COMMAND", "cmdline", TEXT, false, false },
};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct column *find_column(const char *name, size_t len)
{
	for (size_t i = 0; i < NCOLUMNS; i++)
		if (strlen(columns[i].name) == len && memcmp(columns[i].name, name, len) == 0)
			return &columns[i];
	return NULL;
}

/* How many; 0: the list makes no sense. */
static size_t choose(const char *list, const struct column *out[COLUMNS_MAX])
{
	const bool wide = list && strcmp(list, "wide") == 0;
	size_t n = 0;

	for (size_t i = 0; (!list || wide) && i < NCOLUMNS; i++)
		if (wide ? columns[i].wide : columns[i].usual)
			out[n++] = &columns[i];
	while (list && !wide) {
		const size_t len = strcspn(list, ",");

		if (n == COLUMNS_MAX || !(out[n] = find_column(list, len)))
			return 0;
		n++;
		list = list[len] ? list + len + 1 : NULL;
	}
	return n;
}

bool render_knows_columns(const char *list)
{
	const struct column *chosen[COLUMNS_MAX];

	return choose(list, chosen) > 0;
}

static void put_cell(
	struct sheet *s, const struct column *column, const json_t *holder, struct check *c)
{
	char buf[TEXT_TIME_SIZE];

	switch (column->cell) {
	case TEXT:
		sheet_text(s, field_text(c, holder, column->field));
		break;
	case SHORT_ID:
		/* enough to tell sessions apart; the column "id" and --json have all 32 digits */
		snprintf(buf, 9, "%s", field_text(c, holder, column->field));
		sheet_text(s, buf);
		break;
	case BASENAME:
		sheet_text(s, text_basename(field_text(c, holder, column->field)));
		break;
	case NUMBER:
		sheet_number(s, field_int(c, holder, column->field));
		break;
	case BYTES:
		sheet_bytes(s, field_uint(c, holder, column->field));
		break;
	case DURATION:
		sheet_duration(s, field_uint(c, holder, column->field));
		break;
	case QUOTA:
		sheet_text(s, quota_format_use(
				      json_object_get(holder, column->field), buf, sizeof(buf), c));
		break;
	case TIME:
		sheet_text(s,
			text_format_time(field_uint(c, holder, column->field), buf, sizeof(buf)));
		break;
	}
}

int render_sessions(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *sessions = field_list(c, answer, "sessions");
	const uint64_t hidden = field_uint_or_0(c, answer, select_hidden(REPORT_SESSIONS));
	const struct column *chosen[COLUMNS_MAX];
	struct sheet_column titles[COLUMNS_MAX];
	const size_t n = choose(view->columns, chosen);
	struct sheet s;
	json_t *holder;
	size_t i;
	int err;

	for (i = 0; i < n; i++)
		titles[i] = (struct sheet_column){ .name = chosen[i]->title,
			.right = chosen[i]->cell >= NUMBER && chosen[i]->cell <= DURATION };
	sheet_start(&s, titles, n);
	json_array_foreach(sessions, i, holder)
	{
		sheet_row(&s);
		for (size_t k = 0; k < n; k++)
			put_cell(&s, chosen[k], holder, c);
	}
	if (i == 0 && hidden == 0)
		fputs("no sessions\n", out);
	err = sheet_finish(&s, out);
	part_hidden(out, hidden, "session");
	return err;
}
