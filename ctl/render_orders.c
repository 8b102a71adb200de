/* SPDX-License-Identifier: BSD-3-Clause */
/* What an order takes away: shown to the operator before it is confirmed, and after rmemd has carried it out. */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>

#include "common/units.h"
#include "ctl/parts.h"
#include "ctl/text.h"

/* "58720256 bytes (56.0 MiB) in 14 blocks", of all who lose something: exact. */
static void put_all(FILE *out, const json_t *answer, struct check *c)
{
	const uint64_t bytes = field_uint(c, answer, "bytes"),
		       blocks = field_uint(c, answer, "blocks");
	char rounded[UNITS_TEXT_SIZE];

	fprintf(out, "%" PRIu64 " bytes", bytes);
	if (bytes >= KIB)
		fprintf(out, " (%s)", units_format_bytes(bytes, rounded, sizeof(rounded)));
	fprintf(out, " in %" PRIu64 " block%s", blocks, blocks == 1 ? "" : "s");
}

static void put_losers(FILE *out, const json_t *answer, const char *lead, struct check *c)
{
	const json_t *holders = field_list(c, answer, "holders");
	const uint64_t total = field_uint(c, answer, "sessions_total");
	json_t *holder;
	size_t i;

	json_array_foreach(holders, i, holder)
	{
		fputs(i == 0 ? lead : "       and  ", out);
		part_holder(out, holder, c);
		fputs(": ", out);
		text_put_share(
			out, field_uint(c, holder, "bytes"), field_uint(c, holder, "blocks"));
		putc('\n', out);
	}
	if (total > i)
		fprintf(out, "       and  %" PRIu64 " more\n", total - i);
}

/* The one session that an answer is about. */
static const json_t *the_holder(const json_t *answer, struct check *c)
{
	const json_t *holders = field_list(c, answer, "holders");

	if (json_array_size(holders) != 1)
		field_fail(c, "has not one session in", "holders");
	return json_array_get(holders, 0);
}

int render_evict(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const bool preview = field_bool(c, answer, "preview");
	const json_t *holder = the_holder(answer, c);

	(void)view;
	fputs("session ", out);
	text_put(out, field_text(c, holder, "session"));
	fputs(preview ? " is to lose "
		      : " is evicted: nobody reaches its memory any more, and it lost ",
		out);
	put_all(out, answer, c);
	fputs(preview ? " for good\n" : "\n", out);
	put_losers(out, answer, "   held by  ", c);
	if (preview)
		fputs("   A program that still runs gets -ESTALE for all of it, and may open a new "
		      "session.\n",
			out);
	return 0;
}

int render_revoke(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const bool preview = field_bool(c, answer, "preview");
	const json_t *a = field_object(c, answer, "allocation");
	const uint64_t others = field_uint(c, a, "attached_sessions");
	char block[UNITS_TEXT_SIZE];

	(void)view;
	fputs("the allocation at ", out);
	text_put(out, field_text(c, a, "addr"));
	fputs(preview ? " is to be lost for good: " : " is revoked: nobody reaches it any more: ",
		out);
	put_all(out, answer, c);
	fprintf(out, ", lent as %s on node %" PRIu64 ", allocated ",
		units_format_bytes(field_uint(c, a, "block_bytes"), block, sizeof(block)),
		field_uint(c, a, "node"));
	text_put_duration(out, field_uint(c, a, "age_ms"));
	fputs(" ago\n", out);
	(void)the_holder(answer, c);
	put_losers(out, answer, "   held by  ", c);
	if (others)
		fprintf(out, "   used by  %" PRIu64 " other session%s\n", others,
			others == 1 ? "" : "s");
	if (preview)
		fputs("   A program that still runs gets -ESTALE for it, and keeps all else.\n",
			out);
	return 0;
}

int render_reclaim(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const bool preview = field_bool(c, answer, "preview");
	const uint64_t sessions = field_uint(c, answer, "sessions_total");

	(void)view;
	if (sessions == 0) {
		fputs("nothing to take back: all sessions with memory are connected, or have a "
		      "lease\n",
			out);
		return 0;
	}
	put_all(out, answer, c);
	fprintf(out,
		" of %" PRIu64 " session%s that %s gone, or silent for longer than %s lease, %s\n",
		sessions, sessions == 1 ? "" : "s", sessions == 1 ? "is" : "are",
		sessions == 1 ? "its" : "their",
		preview ? "are to be lost for good" : "are being taken back");
	put_losers(out, answer, "   held by  ", c);
	return 0;
}

static void put_resized(FILE *out, const json_t *node, struct check *c)
{
	const uint64_t was = field_uint(c, node, "was_bytes"),
		       size = field_uint(c, node, "size_bytes");
	const uint64_t wanted = field_uint(c, node, "wanted_bytes"),
		       coming = field_uint(c, node, "coming_bytes");
	char buf[UNITS_TEXT_SIZE];

	fprintf(out, "node %" PRIu64 " has %s", field_uint(c, node, "node"),
		units_format_bytes(size, buf, sizeof(buf)));
	if (size != was)
		fprintf(out, " (before: %s)", units_format_bytes(was, buf, sizeof(buf)));
	if (coming)
		fprintf(out, ", and %s more are being made ready",
			units_format_bytes(coming, buf, sizeof(buf)));
	if (size > wanted)
		fprintf(out,
			" and not %s: memory leaves by whole segments in which nothing is lent",
			units_format_bytes(wanted, buf, sizeof(buf)));
	putc('\n', out);
}

int render_resize(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	json_t *node;
	size_t i;

	(void)view;
	json_array_foreach(field_list(c, answer, "nodes"), i, node) put_resized(out, node, c);
	put_losers(out, answer, "in the way  ", c);
	return 0;
}

int render_log_level(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	(void)view;
	fputs("the log level is ", out);
	text_put(out, field_text(c, answer, "level"));
	fputs(" now; it was ", out);
	text_put(out, field_text(c, answer, "was"));
	putc('\n', out);
	return 0;
}
