/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/kind.h"
#include "ctl/select.h"

static bool has_kind(const json_t *summary, enum kind kind, struct check *c)
{
	const json_t *total = field_object(c, summary, kind_name(kind));

	return field_uint(c, total, "blocks") != 0 || field_uint(c, total, "bytes") != 0;
}

bool verdict_is_free(const json_t *answer)
{
	const json_t *code = json_object_get(json_object_get(answer, "error"), "code");

	return json_is_string(code) && strcmp(json_string_value(code), "ENOENT") == 0;
}

int verdict_map(const json_t *answer, int node, struct errinfo *errinfo)
{
	struct check c = { "" };
	const json_t *nodes = field_list(&c, answer, "nodes");
	char list[256] = "";
	size_t i, used = 0;
	json_t *n;

	json_array_foreach(nodes, i, n)
	{
		int64_t number = field_int(&c, n, "node");

		if (node < 0 || number == node)
			return 0;
		if (used < sizeof(list) - 24)
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%" PRId64,
				i ? ", " : "", number);
	}
	if (c.what[0] || node < 0)
		return 0; /* for the report, which says what is wrong */
	return errinfo_set(errinfo, -ENODEV, "the pool has no memory on node %d; it has on: %s",
		node, used ? list : "none");
}

/* By the summary: it counts all there is. */
static bool has_any(const json_t *answer, unsigned kinds, struct check *c)
{
	const json_t *summary = field_object(c, answer, "summary");
	bool any = false;

	for (unsigned kind = 0; kind < KINDS; kind++)
		any |= has_kind(summary, (enum kind)kind, c) && kinds & KIND_BIT(kind);
	return any;
}

/* Records that are old enough, or shown. They must be all that the summary counts: otherwise some could be missing. */
static bool has_record(
	const json_t *answer, const struct gate *gate, const struct view *view, struct check *c)
{
	const json_t *summary = field_object(c, answer, "summary");
	const json_t *records = field_list(c, answer, "records");
	uint64_t blocks[KINDS + 1] = { 0 };
	bool any = false;
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record)
	{
		const enum kind kind = field_kind(c, record);

		blocks[kind] += field_uint(c, record, "blocks");
		any |= kind < KINDS && gate->kinds & KIND_BIT(kind) &&
		       field_uint(c, record, "age_max_ms") >= gate->older_ms &&
		       (!gate->shown || select_shows_record(record, view, c));
	}
	for (unsigned kind = 0; kind < KINDS; kind++) {
		const json_t *total = field_object(c, summary, kind_name((enum kind)kind));

		if (field_uint(c, total, "blocks") != blocks[kind])
			field_fail(c, "has other records than it counts in", "summary");
	}
	return any;
}

int verdict_leaks(const json_t *answer, const struct gate *gate, const struct view *view,
	bool *out_leaks, struct errinfo *errinfo)
{
	struct check c = { "" };
	const json_t *nodes = field_list(&c, answer, "nodes");
	const json_t *coverage = field_object(&c, answer, "coverage");
	bool wrong = field_uint(&c, coverage, "orphans") != 0 ||
		     field_uint_or_0(&c, coverage, "corrupt_records") != 0;
	/* what was taken back was leaked too, until somebody says that he knows */
	bool news = field_uint_or_0(&c, coverage, "unacknowledged") != 0;
	bool found = has_any(answer, gate->kinds, &c);
	json_t *node;
	size_t i;

	if (gate->older_ms || gate->shown)
		found = has_record(answer, gate, view, &c);
	json_array_foreach(nodes, i, node)
	{
		wrong |= field_int(&c, node, "unaccounted_bytes") != 0;
		wrong |= json_is_true(json_object_get(node, "miscounted"));
	}
	if (c.what[0])
		return errinfo_set(
			errinfo, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	*out_leaks = found || wrong || (news && !gate->shown);
	return 0;
}
