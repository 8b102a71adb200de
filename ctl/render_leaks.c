/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/parts.h"
#include "ctl/select.h"
#include "ctl/text.h"

/* Where the id of a record goes, when the headline leaves room. */
#define RECORD_COLUMN 72

/* blocks are objects too. An older rmemd knows none. */
static void put_share(FILE *out, const json_t *object, struct check *c)
{
	const uint64_t blocks = field_uint(c, object, "blocks");
	const uint64_t objects = field_uint_or_0(c, object, "objects");

	text_put_mixed_share(
		out, field_uint(c, object, "bytes"), blocks, objects < blocks ? objects : blocks);
}

static void put_plural(FILE *out, uint64_t n, const char *text)
{
	fprintf(out, "%" PRIu64 " allocation%s %s\n", n, n == 1 ? "" : "s", text);
}

/* What the audit could not learn from the records of objects. */
static void put_journals(FILE *out, const json_t *coverage, struct check *c)
{
	const uint64_t corrupt = field_uint_or_0(c, coverage, "corrupt_records");
	const uint64_t unread = field_uint_or_0(c, coverage, "slabs_unread");

	if (corrupt)
		fprintf(out,
			"%" PRIu64 " object%s whose record is corrupt: journal-corrupt below "
			"(--kinds all)\n",
			corrupt, corrupt == 1 ? "" : "s");
	if (unread)
		fprintf(out, "%" PRIu64 " slab%s given back before the objects were read\n", unread,
			unread == 1 ? "" : "s");
}

/* What this report cannot show any more. */
static void put_reclaimed(FILE *out, const json_t *coverage, struct check *c)
{
	int64_t blocks = field_int_or_null(c, coverage, "reclaimed_blocks");

	if (blocks <= 0)
		return;
	text_put_share(out, field_uint(c, coverage, "reclaimed_bytes"), (uint64_t)blocks);
	fputs(" taken back from holders that were gone or silent, since rmemd started: no longer "
	      "listed\n",
		out);
}

/* Why the exit status is 1 even if nothing below is lost. */
static void put_news(FILE *out, const json_t *coverage, struct check *c)
{
	uint64_t lines = field_uint_or_0(c, coverage, "unacknowledged");

	if (lines)
		fprintf(out,
			"%" PRIu64
			" line%s of history %s not acknowledged: see rmemctl leaks --reclaimed\n",
			lines, lines == 1 ? "" : "s", lines == 1 ? "is" : "are");
}

/* Whether that is how things are now. An older rmemd always makes an audit and does not say so. */
static void put_age(FILE *out, const json_t *audit, const struct view *view, struct check *c)
{
	uint64_t age_ms;

	if (!json_object_get(audit, "made_now"))
		return;
	age_ms = field_uint(c, audit, "age_ms");
	if (field_bool(c, audit, "made_now")) {
		if (!view->audit)
			fputs("this audit was made now: there was none before\n", out);
		return;
	}
	fputs("this audit was made ", out);
	text_put_duration(out, age_ms);
	fputs(" ago (--audit makes one now)\n", out);
}

static void put_header(FILE *out, const json_t *answer, const struct view *view, struct check *c)
{
	const json_t *audit = field_object(c, answer, "audit");
	const json_t *coverage = field_object(c, answer, "coverage");
	uint64_t total = field_uint(c, coverage, "allocations_total");
	uint64_t audited = field_uint(c, coverage, "allocations_audited");
	uint64_t sessions = field_uint(c, coverage, "sessions_total");
	uint64_t unscanned = field_uint(c, coverage, "sessions_not_scanned");
	uint64_t without_site = field_uint(c, coverage, "allocations_without_site");
	uint64_t orphans = field_uint(c, coverage, "orphans");

	fprintf(out, "audit %" PRIu64 "  confirmed %" PRIu64 "/%" PRIu64,
		field_uint(c, audit, "serial"), field_uint(c, audit, "scans_agreeing"),
		field_uint(c, audit, "scans_needed"));
	fprintf(out,
		"  covered %" PRIu64 "/%" PRIu64 " allocations, %" PRIu64 "/%" PRIu64 " sessions\n",
		audited, total, sessions - (unscanned < sessions ? unscanned : sessions), sessions);
	put_age(out, audit, view, c);
	if (audited < total)
		put_plural(out, total - audited, "too young to judge");
	if (without_site)
		put_plural(out, without_site, "without a call site");
	if (orphans)
		put_plural(out, orphans, "of no known session: a fault in rmemd, please report it");
	put_journals(out, coverage, c);
	put_reclaimed(out, coverage, c);
	put_news(out, coverage, c);
}

static void put_headline(FILE *out, const json_t *record, struct check *c)
{
	enum kind kind = field_kind(c, record);
	char *line = NULL;
	size_t size;
	FILE *stream = open_memstream(&line, &size);

	if (!stream)
		return;
	put_share(stream, record, c);
	fprintf(stream, " %s", kind < KINDS ? kind_phrase(kind) : "");
	if (fclose(stream) == 0)
		fprintf(out, "%-*s  record ", RECORD_COLUMN, line);
	text_put(out, field_text(c, record, "id"));
	putc('\n', out);
	free(line);
}

static void put_holders(FILE *out, const json_t *record, struct check *c)
{
	const json_t *holders = field_list(c, record, "holders");
	uint64_t total = field_uint(c, record, "holders_total");
	size_t listed = json_array_size(holders);
	json_t *holder;
	size_t i;

	json_array_foreach(holders, i, holder)
	{
		fputs(i == 0 ? "   held by  " : "       and  ", out);
		part_holder(out, holder, c);
		if (total > 1) {
			fputs(": ", out);
			put_share(out, holder, c);
		}
		putc('\n', out);
	}
	if (total > listed)
		fprintf(out, "   %s %" PRIu64 " more\n", listed ? "    and " : "held by ",
			total - listed);
}

static void put_ages(FILE *out, const json_t *record, struct check *c)
{
	const json_t *nodes = field_list(c, record, "nodes");
	uint64_t block_bytes = field_uint(c, record, "block_bytes");
	uint64_t waste = field_uint(c, record, "waste_bytes");
	json_t *node;
	size_t i;

	fputs("   age ", out);
	if (field_uint(c, record, "blocks") > 1) {
		text_put_duration(out, field_uint(c, record, "age_min_ms"));
		fputs(" / ", out);
		text_put_duration(out, field_uint(c, record, "age_avg_ms"));
		fputs(" / ", out);
	}
	text_put_duration(out, field_uint(c, record, "age_max_ms"));
	fprintf(out, "   node%s ", json_array_size(nodes) == 1 ? "" : "s");
	json_array_foreach(nodes, i, node)
		fprintf(out, "%s%" PRId64, i ? "," : "", item_int(c, node, "nodes"));
	fprintf(out, "   waste %.1f%%\n",
		block_bytes ? 100.0 * (double)waste / (double)block_bytes : 0.0);
}

static void put_evidence(FILE *out, const json_t *record, struct check *c)
{
	const json_t *evidence = field_list(c, record, "evidence");
	uint64_t unconfirmed = field_uint(c, record, "unconfirmed_blocks");
	json_t *item;
	size_t i;

	if (unconfirmed)
		fprintf(out, "   unconfirmed: only the last scan calls %" PRIu64 " of them lost\n",
			unconfirmed);
	json_array_foreach(evidence, i, item)
	{
		fputs(i == 0 ? "   evidence: " : ", ", out);
		text_put(out, item_text(c, item, "evidence"));
	}
	if (i > 0)
		putc('\n', out);
}

static void put_record(FILE *out, const json_t *record, struct check *c)
{
	put_headline(out, record, c);
	put_holders(out, record, c);
	put_ages(out, record, c);
	part_stack(out, field_list(c, record, "stack"), c);
	put_evidence(out, record, c);
}

static void put_records(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *records = field_list(c, answer, "records");
	const uint64_t hidden = field_uint_or_0(c, answer, select_hidden(REPORT_LEAKS));
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record) put_record(out, record, c);
	part_hidden(out, hidden, "record");
}

/* A line for each kind that there is. That nothing is lost is said, too: it is the answer to the question. */
static void put_summary(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *summary = field_object(c, answer, "summary");
	const json_t *definite = field_object(c, summary, kind_name(KIND_DEFINITE));

	fputs(field_uint(c, definite, "blocks") ? "LEAK SUMMARY:\n"
						: "LEAK SUMMARY: nothing is definitely lost\n",
		out);
	for (unsigned i = 0; i < KINDS; i++) {
		const json_t *total = field_object(c, summary, kind_name((enum kind)i));
		uint64_t bytes = field_uint(c, total, "bytes");
		uint64_t blocks = field_uint(c, total, "blocks");

		if (bytes == 0 && blocks == 0)
			continue;
		fprintf(out, "   %-16s ", kind_summary((enum kind)i));
		put_share(out, total, c);
		putc('\n', out);
	}
}

int render_leaks(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *nodes = field_list(c, answer, "nodes");
	json_t *node;
	size_t i;

	put_header(out, answer, view, c);
	put_records(out, answer, c);
	put_summary(out, answer, c);
	json_array_foreach(nodes, i, node) part_conservation(out, node, c);
	return 0;
}

int render_audit(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *nodes = field_list(c, answer, "nodes");
	const struct view asked = { .audit = true };
	json_t *node;
	size_t i;

	(void)view;
	put_header(out, answer, &asked, c);
	put_summary(out, answer, c);
	json_array_foreach(nodes, i, node) part_conservation(out, node, c);
	return 0;
}
