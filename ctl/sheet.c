/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdlib.h>

#include "common/units.h"
#include "ctl/text.h"

void sheet_start(struct sheet *s, const struct sheet_column *columns, size_t ncolumns)
{
	*s = (struct sheet){ .table = scols_new_table() };
	if (!s->table) {
		s->failed = true;
		return;
	}
	scols_table_set_termforce(s->table, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < ncolumns; i++) {
		if (!scols_table_new_column(
			    s->table, columns[i].name, 0, columns[i].right ? SCOLS_FL_RIGHT : 0))
			s->failed = true;
	}
}

void sheet_row(struct sheet *s)
{
	s->line = s->failed ? NULL : scols_table_new_line(s->table, NULL);
	s->column = 0;
	if (!s->line)
		s->failed = true;
}

void sheet_text(struct sheet *s, const char *text)
{
	char *clean;

	if (s->failed)
		return;
	clean = text_clean(text[0] ? text : "-");
	/* on success the line owns the text */
	if (!clean || scols_line_refer_data(s->line, s->column++, clean) != 0) {
		free(clean);
		s->failed = true;
	}
}

void sheet_number(struct sheet *s, int64_t value)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%" PRId64, value);
	sheet_text(s, buf);
}

void sheet_bytes(struct sheet *s, uint64_t bytes)
{
	char buf[UNITS_TEXT_SIZE];

	sheet_text(s, units_format_bytes(bytes, buf, sizeof(buf)));
}

void sheet_duration(struct sheet *s, uint64_t ms)
{
	char buf[UNITS_TEXT_SIZE];

	sheet_text(s, units_format_duration(ms, buf, sizeof(buf)));
}

int sheet_finish(struct sheet *s, FILE *out)
{
	int err = s->failed ? -ENOMEM : 0;

	if (err == 0 && !scols_table_is_empty(s->table)) {
		scols_table_set_stream(s->table, out);
		if (scols_print_table(s->table) != 0)
			err = -ENOMEM;
	}
	scols_unref_table(s->table);
	*s = (struct sheet){ 0 };
	return err;
}
