/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include "ctl/sheet.h"
#include "ctl/text.h"

static void put_session(struct sheet *s, const json_t *holder, struct check *c)
{
	char id[9];

	/* enough to tell sessions apart; --json has all 32 digits */
	snprintf(id, sizeof(id), "%s", field_text(c, holder, "session"));
	sheet_row(s);
	sheet_text(s, id);
	sheet_text(s, field_text(c, holder, "state"));
	sheet_duration(s, field_uint(c, holder, "state_for_ms"));
	sheet_text(s, field_text(c, holder, "lease"));
	sheet_duration(s, field_uint(c, holder, "seen_ago_ms"));
	sheet_number(s, field_int(c, holder, "channels"));
	sheet_number(s, field_int(c, holder, "blocks"));
	sheet_bytes(s, field_uint(c, holder, "bytes"));
	sheet_bytes(s, field_uint(c, holder, "block_bytes"));
	sheet_text(s, field_text(c, holder, "host"));
	sheet_number(s, field_int(c, holder, "uid"));
	sheet_number(s, field_int(c, holder, "pid"));
	sheet_text(s, field_text(c, holder, "job"));
	sheet_text(s, text_basename(field_text(c, holder, "exe")));
}

int render_sessions(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	static const struct sheet_column columns[] = {
		{ "SESSION", false },
		{ "STATE", false },
		{ "FOR", true },
		{ "LEASE", false },
		{ "SEEN", true },
		{ "CHANNELS", true },
		{ "BLOCKS", true },
		{ "BYTES", true },
		{ "LENT", true },
		{ "HOST", false },
		{ "UID", true },
		{ "PID", true },
		{ "JOB", false },
		{ "EXE", false },
	};
	const json_t *sessions = field_list(c, answer, "sessions");
	struct sheet s;
	json_t *holder;
	size_t i;

	(void)view;
	if (json_array_size(sessions) == 0)
		fputs("no sessions\n", out);
	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(sessions, i, holder) put_session(&s, holder, c);
	return sheet_finish(&s, out);
}
