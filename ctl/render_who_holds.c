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

/* What the session that holds a slab says about the place there. */
static void put_object(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *object = field_object(c, answer, "object");
	const json_t *holder = field_object(c, answer, "holder");
	const char *journal = field_text(c, holder, "journal");
	const uint64_t bytes = field_uint(c, object, "bytes");
	char text[UNITS_TEXT_SIZE], birth[TEXT_TIME_SIZE];

	fprintf(out, "   object   byte %" PRIu64 " of slot %" PRIu64 " (%s) at ",
		field_uint(c, object, "offset_bytes"), field_uint(c, object, "slot"),
		units_format_bytes(field_uint(c, object, "slot_bytes"), text, sizeof(text)));
	text_put(out, field_text(c, object, "addr"));
	fputs(", ", out);
	text_put(out, field_text(c, object, "state"));
	if (bytes)
		fprintf(out, ": %s, allocated %s, generation %" PRIu64,
			units_format_bytes(bytes, text, sizeof(text)),
			text_format_time(field_uint(c, object, "birth_ns"), birth, sizeof(birth)),
			field_uint(c, object, "generation"));
	fputs("\n   journal  ", out);
	text_put(out, journal);
	if (strcmp(journal, "lazy") == 0) {
		fputs(": that may be ", out);
		text_put_duration(out, field_uint(c, holder, "journal_age_ms"));
		fputs(" old", out);
	}
	putc('\n', out);
}

int render_who_holds(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *holder = field_object(c, answer, "holder");

	(void)view;
	text_put(out, field_text(c, answer, "addr"));
	fputs(" is ", out);
	put_allocation(out, field_object(c, answer, "allocation"), c);
	/* An older rmemd has no slabs. */
	if (json_is_object(json_object_get(answer, "object")))
		put_object(out, answer, c);
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
