/* SPDX-License-Identifier: BSD-3-Clause */
/* History: what was taken back from holders that were gone or silent, a row per line of it. */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ctl/parts.h"
#include "ctl/select.h"
#include "ctl/sheet.h"
#include "ctl/text.h"

/* A part of a line as a phrase. */
typedef void put_fn(FILE *out, const json_t *line, struct check *c);

static void put_share(FILE *out, const json_t *line, struct check *c)
{
	text_put_share(out, field_uint(c, line, "bytes"), field_uint(c, line, "blocks"));
}

static void put_holder(FILE *out, const json_t *line, struct check *c)
{
	const char *exe = text_basename(field_text(c, line, "exe"));
	const char *job = field_text(c, line, "job");

	text_put(out, exe[0] ? exe : "?");
	fprintf(out, "[%" PRIu64 "] on ", field_uint(c, line, "pid"));
	text_put(out, field_text(c, line, "host"));
	fprintf(out, ", uid %" PRIu64, field_uint(c, line, "uid"));
	if (job[0]) {
		fputs(", job ", out);
		text_put(out, job);
	}
}

static void put_state(FILE *out, const json_t *line, struct check *c)
{
	const char *evidence = field_text(c, line, "evidence");

	text_put(out, field_text(c, line, "session_state"));
	fputs(" for ", out);
	text_put_duration(out, field_uint(c, line, "state_ms"));
	if (evidence[0]) {
		fputs(" (", out);
		text_put(out, evidence);
		putc(')', out);
	}
}

/* Of a frame without a function the file may be the reason why it has none. */
static void put_frame(FILE *out, const json_t *frame, struct check *c)
{
	const char *function = field_text(c, frame, "function");
	const char *file = field_text(c, frame, "file");
	uint64_t number = field_uint(c, frame, "line");

	text_put(out, function[0] ? function : "?");
	if (!file[0])
		return;
	fputs(" (", out);
	text_put(out, file);
	if (number)
		fprintf(out, ":%" PRIu64, number);
	putc(')', out);
}

static void put_site(FILE *out, const json_t *line, struct check *c)
{
	const json_t *stack = field_list(c, line, "stack");
	const char *site = field_text(c, line, "site");
	json_t *frame;
	size_t i;

	json_array_foreach(stack, i, frame)
	{
		fputs(i == 0 ? "at " : " by ", out);
		put_frame(out, frame, c);
	}
	if (i > 0)
		return;
	if (site[0]) {
		fputs("at site ", out);
		text_put(out, site);
		fputs(" (without names)", out);
	} else {
		fputs("at ? (no call site was recorded)", out);
	}
}

static void put_cell(struct sheet *s, put_fn *put, const json_t *line, struct check *c)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream)
		put(stream, line, c);
	if (stream && fclose(stream) == 0)
		sheet_text(s, text);
	else
		s->failed = true;
	free(text);
}

static void put_line(struct sheet *s, const json_t *line, struct check *c)
{
	char time[TEXT_TIME_SIZE];

	sheet_row(s);
	sheet_number(s, (int64_t)field_uint(c, line, "id"));
	sheet_text(s, field_bool(c, line, "acknowledged") ? "yes" : "no");
	sheet_text(s, text_format_time(field_uint(c, line, "taken_ns"), time, sizeof(time)));
	sheet_duration(s, field_uint(c, line, "taken_ago_ms"));
	put_cell(s, put_share, line, c);
	put_cell(s, put_holder, line, c);
	put_cell(s, put_state, line, c);
	put_cell(s, put_site, line, c);
}

/* "3 lines are", and "1 line is". */
static void put_lines(FILE *out, uint64_t n, const char *which)
{
	fprintf(out, "%" PRIu64 " %sline%s", n, which, n == 1 ? " is" : "s are");
}

/* How many there are, and how many of them are news. */
static void get_counts(
	const json_t *answer, uint64_t *out_total, uint64_t *out_news, struct check *c)
{
	*out_total = field_uint(c, answer, "lines_total");
	*out_news = field_uint(c, answer, "unacknowledged");
	if (*out_news > *out_total || json_array_size(field_list(c, answer, "lines")) > *out_total)
		field_fail(c, "counts too few", "lines_total");
}

int render_reclaimed(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	static const struct sheet_column columns[] = {
		{ "ID", true },
		{ "ACK", false },
		{ "WHEN", false },
		{ "AGO", true },
		{ "TAKEN BACK", false },
		{ "HELD BY", false },
		{ "STATE", false },
		{ "CALL SITE", false },
	};
	const json_t *lines = field_list(c, answer, "lines");
	const uint64_t hidden = field_uint_or_0(c, answer, select_hidden(REPORT_RECLAIMED));
	uint64_t total, news;
	struct sheet s;
	json_t *line;
	size_t i;

	(void)view;
	get_counts(answer, &total, &news, c);
	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(lines, i, line) put_line(&s, line, c);
	if (sheet_finish(&s, out) != 0)
		return -ENOMEM;
	part_hidden(out, hidden, "line");
	if (total > i + hidden) {
		put_lines(out, total - i - hidden, "older ");
		fputs(" not shown (--limit)\n", out);
	}
	if (total == 0) {
		fputs("nothing was taken back: no lines of history\n", out);
	} else if (news == 0) {
		fputs("every line is acknowledged\n", out);
	} else {
		put_lines(out, news, "");
		fputs(" not acknowledged, and rmemctl leaks exits with 1 until then; to "
		      "acknowledge, "
		      "on the server's host: rmemctl leaks --ack ID, or all\n",
			out);
	}
	return 0;
}

int render_acknowledge(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	uint64_t total, news;

	get_counts(answer, &total, &news, c);
	if (view->line == VIEW_EVERY_LINE) {
		if (news > 0)
			field_fail(
				c, "leaves some after all were acknowledged in", "unacknowledged");
		fprintf(out, "every line of history is acknowledged, %" PRIu64 " in all\n", total);
		return 0;
	}
	fprintf(out, "line %" PRIu64 " of history is acknowledged; ", view->line);
	if (news > 0)
		put_lines(out, news, "other ");
	else
		fputs("no other is", out);
	fputs(" left to acknowledge\n", out);
	return 0;
}
