/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "ctl/text.h"

static const struct {
	const char *field, *label;
} shares[] = {
	{ "live_bytes", "live" },
	{ "courtesy_bytes", "courtesy" },
	{ "quarantine_bytes", "quarantine" },
	{ "zombie_bytes", "zombie" },
	{ "free_bytes", "free" },
	/* Of slabs, and only an audit tells: not in tables, nor in answers of an older rmemd. */
	{ "cached_bytes", "cached" },
	{ "metadata_bytes", "metadata" },
};

#define NSHARES (sizeof(shares) / sizeof(shares[0]))
#define NSHARES_ALWAYS (NSHARES - 2)

struct unit {
	const char *name;
	int64_t bytes;
};

/*
 * The largest unit in which each term of a node's line is a whole number. With one unit and nothing rounded the printed
 * terms add up, and can be compared at a glance.
 */
static struct unit common_unit(const json_t *node, struct check *c)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	uint64_t whole = field_uint(c, node, "registered_bytes");
	uint64_t bits = whole | (uint64_t)field_int(c, node, "unaccounted_bytes");
	unsigned i = 0;

	for (size_t k = 0; k < NSHARES; k++)
		bits |= field_uint_or_0(c, node, shares[k].field);
	while (i + 1 < sizeof(names) / sizeof(names[0]) && bits % (KIB << 10 * i) == 0 &&
		whole >= KIB << 10 * i)
		i++;
	return (struct unit){ names[i], INT64_C(1) << 10 * i };
}

static void put_in(FILE *out, struct unit unit, int64_t bytes)
{
	fprintf(out, "%" PRId64 " %s", bytes / unit.bytes, unit.name);
}

void part_conservation(FILE *out, const json_t *node, struct check *c)
{
	char buf[UNITS_TEXT_SIZE];
	int64_t whole = field_int(c, node, "registered_bytes");
	struct unit unit = common_unit(node, c);

	fprintf(out, "node%" PRIu64 " %s: ", field_uint(c, node, "node"),
		units_format_bytes((uint64_t)whole, buf, sizeof(buf)));
	put_in(out, unit, whole);
	for (size_t i = 0; i < NSHARES; i++) {
		if (i >= NSHARES_ALWAYS && !field_uint_or_0(c, node, shares[i].field))
			continue;
		fprintf(out, " %s %s ", i == 0 ? "=" : "+", shares[i].label);
		put_in(out, unit, field_int(c, node, shares[i].field));
	}
	fputs("   UNACCOUNTED ", out);
	put_in(out, unit, field_int(c, node, "unaccounted_bytes"));
	putc('\n', out);
	/* An older rmemd does not look for it. */
	if (json_is_true(json_object_get(node, "miscounted")))
		fprintf(out,
			"MISCOUNTED: status and map show other sums of node%" PRIu64
			": a fault in rmemd\n",
			field_uint(c, node, "node"));
}

void part_hidden(FILE *out, uint64_t n, const char *what)
{
	if (n)
		fprintf(out, "%" PRIu64 " more %s%s not shown: left out by options\n", n, what,
			n == 1 ? "" : "s");
}

void part_node_cells(struct sheet *s, const json_t *node, struct check *c)
{
	char unaccounted[UNITS_TEXT_SIZE]; /* exact: any byte is a fault */

	sheet_number(s, field_int(c, node, "node"));
	sheet_bytes(s, field_uint(c, node, "registered_bytes"));
	for (size_t i = 0; i < NSHARES_ALWAYS; i++)
		sheet_bytes(s, field_uint(c, node, shares[i].field));
	snprintf(unaccounted, sizeof(unaccounted), "%" PRId64 " B",
		field_int(c, node, "unaccounted_bytes"));
	sheet_text(s, unaccounted);
}

static void put_holder_state(FILE *out, const json_t *holder, struct check *c)
{
	const char *state = field_text(c, holder, "state");
	const char *lease = field_text(c, holder, "lease");
	const char *evidence = field_text_or_null(c, holder, "evidence_text");
	bool connected = strcmp(state, "connected") == 0;

	text_put(out, state);
	if (!connected) {
		fputs(" since ", out);
		text_put_duration(out, field_uint(c, holder, "state_for_ms"));
	}
	if (evidence && evidence[0]) {
		fputs(" (", out);
		text_put(out, evidence);
		putc(')', out);
	} else if (connected || strcmp(state, "detached") == 0) {
		fputs(", lease ", out);
		text_put(out, lease);
		if (strcmp(lease, "live") != 0 && strcmp(lease, "none") != 0) {
			fputs(" since ", out);
			text_put_duration(out, field_uint(c, holder, "lease_since_ms"));
		}
	}
}

void part_holder(FILE *out, const json_t *holder, struct check *c)
{
	const char *exe = text_basename(field_text(c, holder, "exe"));
	const char *job = field_text(c, holder, "job");

	text_put(out, exe[0] ? exe : "?");
	fprintf(out, "[%" PRIu64 "] on ", field_uint(c, holder, "pid"));
	text_put(out, field_text(c, holder, "host"));
	fprintf(out, ", uid %" PRIu64, field_uint(c, holder, "uid"));
	if (job[0]) {
		fputs(", job ", out);
		text_put(out, job);
	}
	fputs(", ", out);
	put_holder_state(out, holder, c);
}

/* Without a name: where it is, for addr2line(1), and why there is none. */
static void put_nameless(FILE *out, const json_t *frame, struct check *c)
{
	const char *module = field_text_or_null(c, frame, "module");
	const char *offset = field_text_or_null(c, frame, "offset");
	const char *errinfo = field_text_or_null(c, frame, "why");

	text_put(out, module && module[0] ? text_basename(module) : "?");
	if (offset) {
		putc('+', out);
		text_put(out, offset);
	}
	if (errinfo && errinfo[0]) {
		fputs(" (", out);
		text_put(out, errinfo);
		putc(')', out);
	}
}

static void put_named(FILE *out, const json_t *frame, const char *function, struct check *c)
{
	const char *file = field_text_or_null(c, frame, "file");
	const char *module = field_text_or_null(c, frame, "module");

	text_put(out, function);
	if (file && file[0]) {
		int64_t line = field_int_or_null(c, frame, "line");

		fputs(" (", out);
		text_put(out, file);
		if (line > 0)
			fprintf(out, ":%" PRId64, line);
		if (json_is_true(json_object_get(frame, "inlined")))
			fputs(", inlined", out);
		putc(')', out);
	} else if (module && module[0]) {
		fputs(" (in ", out);
		text_put(out, text_basename(module));
		putc(')', out);
	}
}

void part_stack(FILE *out, const json_t *stack, struct check *c)
{
	json_t *frame;
	size_t i;

	if (json_array_size(stack) == 0)
		fputs("   at  ? (no call site was recorded)\n", out);
	json_array_foreach(stack, i, frame)
	{
		const char *function = field_text_or_null(c, frame, "function");

		fputs(i == 0 ? "   at  " : "   by  ", out);
		if (function && function[0])
			put_named(out, frame, function, c);
		else
			put_nameless(out, frame, c);
		putc('\n', out);
	}
}

void part_server(FILE *out, const json_t *server, struct check *c)
{
	fputs("rmemd ", out);
	text_put(out, field_text(c, server, "version"));
	fprintf(out, ", pid %" PRIu64 " on ", field_uint(c, server, "pid"));
	text_put(out, field_text(c, server, "host"));
	fprintf(out, ", port %" PRIu64, field_uint(c, server, "port"));
}
