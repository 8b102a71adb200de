/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>
#include <string.h>

#include "common/units.h"
#include "ctl/parts.h"
#include "ctl/text.h"

static void put_allocation(FILE *out, const json_t *a, struct check *c)
{
	char bytes[UNITS_TEXT_SIZE], block[UNITS_TEXT_SIZE], birth[TEXT_TIME_SIZE];

	fprintf(out, "byte %" PRIu64 " of %s at ", field_uint(c, a, "offset_bytes"),
		units_format_bytes(field_uint(c, a, "bytes"), bytes, sizeof(bytes)));
	text_put(out, field_text(c, a, "addr"));
	fprintf(out, " (id %" PRIu64 ", block of %s on node %" PRIu64 ")\n", field_uint(c, a, "id"),
		units_format_bytes(field_uint(c, a, "block_bytes"), block, sizeof(block)),
		field_uint(c, a, "node"));
	fprintf(out, "   allocated %s, ",
		text_format_time(field_uint(c, a, "birth_ns"), birth, sizeof(birth)));
	text_put_duration(out, field_uint(c, a, "age_ms"));
	fputs(" ago; ", out);
	text_put(out, field_text(c, a, "state"));
	fputs(", ", out);
	text_put(out, field_text(c, a, "kind"));
	putc('\n', out);
}

int render_who_holds(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *holder = field_object(c, answer, "holder");

	(void)view;
	text_put(out, field_text(c, answer, "addr"));
	fputs(" is ", out);
	put_allocation(out, field_object(c, answer, "allocation"), c);
	fputs("   held by  ", out);
	part_holder(out, holder, c);
	fputs("\n   session  ", out);
	text_put(out, field_text(c, holder, "session"));
	fputs(", holds ", out);
	text_put_share(out, field_uint(c, holder, "bytes"), field_uint(c, holder, "blocks"));
	fputs(" in all\n   command  ", out);
	text_put(out, field_text(c, holder, "cmdline"));
	putc('\n', out);
	part_stack(out, field_list(c, answer, "stack"), c);
	return 0;
}
