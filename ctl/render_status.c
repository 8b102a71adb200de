/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>

#include "common/units.h"
#include "ctl/parts.h"
#include "ctl/render_quota.h"
#include "ctl/sheet.h"
#include "ctl/text.h"

static void put_duration(
	FILE *out, const char *label, const json_t *object, const char *field, struct check *c)
{
	fputs(label, out);
	text_put_duration(out, field_uint(c, object, field));
}

static void put_count(
	FILE *out, const json_t *object, const char *field, const char *label, struct check *c)
{
	fprintf(out, "%" PRIu64 "%s", field_uint(c, object, field), label);
}

static void put_server(FILE *out, const json_t *server, struct check *c)
{
	char started[TEXT_TIME_SIZE];

	part_server(out, server, c);
	put_duration(out, ", up ", server, "uptime_ms", c);
	fprintf(out, " since %s\n",
		text_format_time(field_uint(c, server, "started_ns"), started, sizeof(started)));
	fputs("data         ", out);
	text_put(out, field_text(c, server, "data_dir"));
	fputs("\nadmin        ", out);
	text_put(out, field_text(c, server, "admin_socket"));
	fputs("\n\n", out);
}

static int put_devices(FILE *out, const json_t *answer, struct check *c)
{
	static const struct sheet_column columns[] = {
		{ "DEVICE", false },
		{ "ADDRESS", false },
		{ "NODE", true },
		{ "PROTECTION", false },
		{ "OTHER-QUEUE-PAIR", false },
		{ "REVOKED-KEY", false },
		{ "OUTSIDE-WINDOW", false },
	};
	const json_t *devices = field_list(c, answer, "devices");
	struct sheet s;
	json_t *device;
	size_t i;

	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(devices, i, device)
	{
		sheet_row(&s);
		sheet_text(&s, field_text(c, device, "name"));
		sheet_text(&s, field_text(c, device, "address"));
		if (field_int_or_null(c, device, "node") < 0)
			sheet_text(&s, "unknown");
		else
			sheet_number(&s, field_int(c, device, "node"));
		sheet_text(&s, field_text(c, device, "protection"));
		sheet_text(&s, field_text(c, device, "other_queue_pair"));
		sheet_text(&s, field_text(c, device, "revoked_key"));
		sheet_text(&s, field_text(c, device, "outside_window"));
	}
	return sheet_finish(&s, out);
}

static void put_cautions(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *devices = field_list(c, answer, "devices");
	json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const char *caution = field_text(c, device, "caution");

		if (!*caution)
			continue;
		text_put(out, field_text(c, device, "name"));
		fputs(": ", out);
		text_put(out, caution);
		putc('\n', out);
	}
}

static int put_nodes(FILE *out, const json_t *answer, struct check *c)
{
	static const struct sheet_column columns[] = {
		NODE_COLUMNS,
		{ "PAGE", true },
		{ "LARGEST-FREE", true },
	};
	const json_t *nodes = field_list(c, answer, "nodes");
	struct sheet s;
	json_t *node;
	size_t i;

	putc('\n', out);
	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(nodes, i, node)
	{
		sheet_row(&s);
		part_node_cells(&s, node, c);
		sheet_bytes(&s, field_uint(c, node, "page_bytes"));
		sheet_bytes(&s, field_uint(c, node, "largest_free_bytes"));
	}
	return sheet_finish(&s, out);
}

static void put_slabs(FILE *out, uint64_t n)
{
	if (n)
		fprintf(out, ", %" PRIu64 " of the blocks %s", n,
			n == 1 ? "is a slab" : "are slabs");
}

/* A value that the firmware may not tell. */
static void put_known(
	struct sheet *s, const json_t *node, const char *field, const char *unit, struct check *c)
{
	const int64_t value = field_int_or_null(c, node, field);
	char text[40] = "unknown";

	if (value >= 0)
		snprintf(text, sizeof(text), "%" PRId64 " %s", value, unit);
	sheet_text(s, text);
}

static void put_best_in(struct sheet *s, const json_t *node, struct check *c)
{
	const json_t *list = field_list(c, node, "best_in");
	char text[80] = "";
	json_t *name;
	size_t i, used = 0;

	json_array_foreach(list, i, name)
	{
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
				i ? "," : "", item_text(c, name, "best_in"));
	}
	sheet_text(s, text);
}

/* What memory of the nodes is good for; an older rmemd does not tell. */
static int put_memory(FILE *out, const json_t *answer, struct check *c)
{
	static const struct sheet_column columns[] = {
		{ "NODE", true },
		{ "CPUS", true },
		{ "MEMORY", true },
		{ "BANDWIDTH", true },
		{ "LATENCY", true },
		{ "BEST-IN", false },
	};
	const json_t *nodes = field_list(c, answer, "nodes");
	struct sheet s;
	json_t *node;
	size_t i;

	if (!json_object_get(json_array_get(nodes, 0), "cpus"))
		return 0;
	putc('\n', out);
	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(nodes, i, node)
	{
		sheet_row(&s);
		sheet_number(&s, field_int(c, node, "node"));
		sheet_number(&s, field_int(c, node, "cpus"));
		if (field_int_or_null(c, node, "memory_bytes") < 0)
			sheet_text(&s, "unknown");
		else
			sheet_bytes(&s, field_uint(c, node, "memory_bytes"));
		put_known(&s, node, "bandwidth_mib_s", "MiB/s", c);
		put_known(&s, node, "latency_ns", "ns", c);
		put_best_in(&s, node, c);
	}
	return sheet_finish(&s, out);
}

static void put_holdings(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *sessions = field_object(c, answer, "sessions");
	const json_t *allocations = field_object(c, answer, "allocations");
	char buf[UNITS_TEXT_SIZE];

	fputs("\nsessions     ", out);
	put_count(out, sessions, "connected", " connected, ", c);
	put_count(out, sessions, "detached", " detached, ", c);
	put_count(out, sessions, "closed", " closed, ", c);
	put_count(out, sessions, "dead", " dead\n", c);
	fputs("channels     ", out);
	put_count(out, answer, "channels", "\n", c);
	fputs("allocations  ", out);
	if (field_uint(c, allocations, "blocks") == 0) {
		fputs("none", out);
	} else {
		text_put_share(out, field_uint(c, allocations, "block_bytes"),
			field_uint(c, allocations, "blocks"));
		fprintf(out, ", %s of them asked for",
			units_format_bytes(field_uint(c, allocations, "bytes"), buf, sizeof(buf)));
		put_slabs(out, field_uint_or_0(c, allocations, "slabs"));
	}
	fprintf(out, "; one can hold %s\n",
		units_format_bytes(field_uint(c, answer, "max_alloc_bytes"), buf, sizeof(buf)));
	fputs("call sites   ", out);
	put_count(out, answer, "sites", "\n", c);
}

static void put_terms(FILE *out, const json_t *answer, struct check *c)
{
	uint64_t interval = field_uint(c, answer, "audit_interval_ms");
	uint64_t stalls = field_uint(c, answer, "stalls");
	char last[TEXT_TIME_SIZE];

	put_duration(out, "leases       ttl ", answer, "ttl_ms", c);
	put_duration(out, ", courtesy ", answer, "courtesy_ms", c);
	fputs(", reclaim ", out);
	text_put(out, field_text(c, answer, "reclaim"));
	fputs("\naudits       ", out);
	put_count(out, answer, "audits", " done, last ", c);
	fputs(text_format_time(field_uint(c, answer, "last_audit_ns"), last, sizeof(last)), out);
	if (interval)
		put_duration(out, ", every ", answer, "audit_interval_ms", c);
	else
		fputs(", only on demand", out);
	fprintf(out, "\nstalls       %" PRIu64, stalls);
	if (stalls)
		put_duration(out, ", excused ", answer, "stalled_ms", c);
	putc('\n', out);
}

static void put_counters(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *counters = field_object(c, answer, "counters");
	char buf[UNITS_TEXT_SIZE];

	fputs("since start  ", out);
	put_count(out, counters, "allocs", " allocs, ", c);
	put_count(out, counters, "frees", " frees, ", c);
	put_count(out, counters, "attaches", " attaches, ", c);
	put_count(out, counters, "keys_given", " keys given, ", c);
	put_count(out, counters, "resumes", " resumes, ", c);
	put_count(out, counters, "expiries", " expiries, ", c);
	put_count(out, counters, "refused_requests", " refused requests, ", c);
	put_count(out, counters, "reclaimed_blocks", " blocks", c);
	fprintf(out, " (%s) reclaimed\n",
		units_format_bytes(field_uint(c, counters, "reclaimed_bytes"), buf, sizeof(buf)));
}

/* Said only if there is any; an older rmemd does not tell. */
static void put_damage(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *damage = json_object_get(answer, "damage");
	uint64_t records, wiped;
	char buf[UNITS_TEXT_SIZE];

	if (!damage)
		return;
	damage = field_object(c, answer, "damage");
	records = field_uint(c, damage, "allocations") + field_uint(c, damage, "sessions") +
		  field_uint(c, damage, "sites");
	wiped = field_uint(c, damage, "wiped_bytes");
	if (records) {
		fputs("damage       ", out);
		put_count(out, damage, "allocations", " allocations, ", c);
		put_count(out, damage, "sessions", " sessions and ", c);
		put_count(out, damage, "sites",
			" call sites had damaged records, left out at the start\n", c);
	}
	if (wiped)
		fprintf(out,
			"wiped        %s of free memory at the start, which nothing proved to be "
			"zero\n",
			units_format_bytes(wiped, buf, sizeof(buf)));
}

/* Said only if there is any; an older rmemd does not tell. */
static void put_growth(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *growth = json_object_get(answer, "growth");
	char coming[UNITS_TEXT_SIZE], ready[UNITS_TEXT_SIZE];
	uint64_t bytes;

	if (!growth)
		return;
	growth = field_object(c, answer, "growth");
	bytes = field_uint(c, growth, "coming_bytes");
	if (bytes)
		fprintf(out, "growth       %s more are being made ready, %s of them are\n",
			units_format_bytes(bytes, coming, sizeof(coming)),
			units_format_bytes(
				field_uint(c, growth, "ready_bytes"), ready, sizeof(ready)));
	if (*field_text(c, growth, "failure")) {
		fputs("growth       failed: ", out);
		text_put(out, field_text(c, growth, "failure"));
		putc('\n', out);
	}
}

/* An older rmemd does not tell. */
static void put_quotas(FILE *out, const json_t *answer, struct check *c)
{
	const json_t *quotas = json_object_get(answer, "quotas");
	size_t named;

	if (!quotas)
		return;
	quotas = field_object(c, answer, "quotas");
	named = json_array_size(field_list(c, quotas, "named"));
	fputs("quotas       of each session ", out);
	quota_put_limits(out, field_object(c, quotas, "session"), c);
	fputs("; of each job ", out);
	quota_put_limits(out, field_object(c, quotas, "job"), c);
	if (named)
		fprintf(out, "; %zu job%s with quotas of %s own", named, named == 1 ? "" : "s",
			named == 1 ? "its" : "their");
	putc('\n', out);
}

int render_status(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	int err;

	(void)view;
	put_server(out, field_object(c, answer, "server"), c);
	err = put_devices(out, answer, c);
	put_cautions(out, answer, c);
	if (err == 0)
		err = put_nodes(out, answer, c);
	if (err == 0)
		err = put_memory(out, answer, c);
	put_holdings(out, answer, c);
	put_terms(out, answer, c);
	put_quotas(out, answer, c);
	put_counters(out, answer, c);
	put_damage(out, answer, c);
	put_growth(out, answer, c);
	return err;
}
