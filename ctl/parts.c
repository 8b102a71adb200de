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
	{ "metadata_bytes", "metadata" },
};

#define NSHARES (sizeof(shares) / sizeof(shares[0]))

/*
 * In the unit of the whole, which is named once: "64.0 GiB = live 40.1 + …". What would round to 0.0
 * there keeps a unit of its own, so that a line never hides bytes.
 */
static void put_share(FILE *out, uint64_t bytes, uint64_t whole)
{
	char buf[UNITS_TEXT_SIZE];
	double unit = 1;

	while ((double)whole / unit >= 1023.95)
		unit *= 1024;
	if (bytes == 0)
		putc('0', out);
	else if (unit > 1 && (double)bytes / unit >= 0.05)
		fprintf(out, "%.1f", (double)bytes / unit);
	else
		fputs(units_format_bytes(bytes, buf, sizeof(buf)), out);
}

void part_conservation(FILE *out, const json_t *node, struct check *c)
{
	char buf[UNITS_TEXT_SIZE];
	uint64_t whole = field_uint(c, node, "registered_bytes");
	int64_t unaccounted = field_int(c, node, "unaccounted_bytes");

	fprintf(out, "node%" PRIu64 " %s =", field_uint(c, node, "node"),
		units_format_bytes(whole, buf, sizeof(buf)));
	for (size_t i = 0; i < NSHARES; i++) {
		fprintf(out, "%s%s ", i == 0 ? " " : " + ", shares[i].label);
		put_share(out, field_uint(c, node, shares[i].field), whole);
	}
	fprintf(out, "   UNACCOUNTED %" PRId64 "%s\n", unaccounted,
		unaccounted == 0 ? "" : " bytes");
}

void part_node_cells(struct sheet *s, const json_t *node, struct check *c)
{
	sheet_number(s, field_int(c, node, "node"));
	sheet_bytes(s, field_uint(c, node, "registered_bytes"));
	for (size_t i = 0; i < NSHARES; i++)
		sheet_bytes(s, field_uint(c, node, shares[i].field));
	sheet_number(s, field_int(c, node, "unaccounted_bytes"));
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
	const char *why = field_text_or_null(c, frame, "why");

	text_put(out, module && module[0] ? text_basename(module) : "?");
	if (offset) {
		putc('+', out);
		text_put(out, offset);
	}
	if (why && why[0]) {
		fputs(" (", out);
		text_put(out, why);
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
