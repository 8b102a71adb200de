/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>

#include "ctl/parts.h"
#include "ctl/select.h"
#include "ctl/sheet.h"
#include "ctl/text.h"

static bool wanted(const json_t *object, const struct view *view, struct check *c)
{
	int64_t node = field_int(c, object, "node");

	return view->node < 0 || node == view->node;
}

static void put_node(struct sheet *s, const json_t *node, struct check *c)
{
	sheet_row(s);
	part_node_cells(s, node, c);
	sheet_bytes(s, field_uint(c, node, "page_bytes"));
	sheet_bytes(s, field_uint(c, node, "largest_free_bytes"));
	sheet_number(s, field_int(c, node, "pages_checked"));
	sheet_number(s, field_int(c, node, "pages_on_node"));
	sheet_number(s, field_int(c, node, "pages_elsewhere"));
	sheet_number(s, field_int(c, node, "pages_absent"));
}

static int put_nodes(FILE *out, const json_t *answer, const struct view *view, struct check *c)
{
	static const struct sheet_column columns[] = {
		NODE_COLUMNS,
		{ "PAGE", true },
		{ "LARGEST-FREE", true },
		{ "CHECKED", true },
		{ "ON-NODE", true },
		{ "ELSEWHERE", true },
		{ "ABSENT", true },
	};
	const json_t *nodes = field_list(c, answer, "nodes");
	struct sheet s;
	json_t *node;
	size_t i;

	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(nodes, i, node)
	{
		if (wanted(node, view, c))
			put_node(&s, node, c);
	}
	return sheet_finish(&s, out);
}

static void put_block(struct sheet *s, const json_t *block, struct check *c)
{
	const char *exe = field_text_or_null(c, block, "exe");
	int64_t pid = field_int_or_null(c, block, "pid");
	const uint64_t slot_bytes = field_uint_or_0(c, block, "slot_bytes"); /* of a slab */

	sheet_row(s);
	sheet_text(s, field_text(c, block, "addr"));
	sheet_number(s, field_int(c, block, "node"));
	sheet_bytes(s, field_uint(c, block, "bytes"));
	sheet_bytes(s, field_uint(c, block, "block_bytes"));
	if (slot_bytes)
		sheet_bytes(s, slot_bytes);
	else
		sheet_text(s, "");
	sheet_text(s, field_text(c, block, "state"));
	sheet_duration(s, field_uint(c, block, "age_ms"));
	sheet_number(s, field_int(c, block, "pages_checked"));
	sheet_number(s, field_int(c, block, "pages_on_node"));
	/* the session of a block that is being wiped may be forgotten already */
	if (pid >= 0)
		sheet_number(s, pid);
	else
		sheet_text(s, "");
	sheet_text(s, exe ? text_basename(exe) : "");
}

static int put_blocks(FILE *out, const json_t *answer, const struct view *view, struct check *c)
{
	static const struct sheet_column columns[] = {
		{ "ADDRESS", false },
		{ "NODE", true },
		{ "BYTES", true },
		{ "LENT", true },
		{ "SLOT", true },
		{ "STATE", false },
		{ "AGE", true },
		{ "CHECKED", true },
		{ "ON-NODE", true },
		{ "PID", true },
		{ "EXE", false },
	};
	const json_t *blocks = field_list(c, answer, "blocks");
	const uint64_t total = field_uint(c, answer, "blocks_total");
	const uint64_t hidden = field_uint_or_0(c, answer, select_hidden(REPORT_MAP));
	struct sheet s;
	json_t *block;
	size_t i;
	int err;

	putc('\n', out);
	sheet_start(&s, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach(blocks, i, block)
	{
		if (wanted(block, view, c))
			put_block(&s, block, c);
	}
	err = sheet_finish(&s, out);
	if (total == 0)
		fputs("no blocks are lent\n", out);
	else if (total > i + hidden)
		fprintf(out, "the first %" PRIu64 " of %" PRIu64 " blocks%s\n", i + hidden, total,
			hidden ? " were looked at" : " (--limit)");
	part_hidden(out, hidden, "block");
	return err;
}

int render_map(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	int err = put_nodes(out, answer, view, c);

	if (err == 0 && view->blocks)
		err = put_blocks(out, answer, view, c);
	return err;
}
