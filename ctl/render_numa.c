/* SPDX-License-Identifier: BSD-3-Clause */
/* The reports numastat and buddyinfo, laid out as by numastat(8) and in /proc/buddyinfo: what reads those reads these. */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>
#include <stdio.h>

int render_numastat(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	static const char *const rows[] = { "numa_hit", "numa_miss", "numa_foreign",
		"interleave_hit", "local_node", "other_node" };
	const json_t *nodes = field_list(c, answer, "nodes");
	char name[32];
	json_t *node;
	size_t i;

	(void)view;
	fprintf(out, "%16s", "");
	json_array_foreach(nodes, i, node)
	{
		snprintf(name, sizeof(name), "node%" PRIu64, field_uint(c, node, "node"));
		fprintf(out, "%16s", name);
	}
	putc('\n', out);
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		fprintf(out, "%-16s", rows[row]);
		json_array_foreach(nodes, i, node)
		{
			fprintf(out, "%16" PRIu64, field_uint(c, node, rows[row]));
		}
		putc('\n', out);
	}
	return 0;
}

/* Memory that is lent has no zones; the kernel's column is there for the sake of those who count columns. */
int render_buddyinfo(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *nodes = field_list(c, answer, "nodes");
	json_t *node, *pieces;
	size_t i, order;

	(void)view;
	json_array_foreach(nodes, i, node)
	{
		const json_t *list = field_list(c, node, "free_pieces");

		fprintf(out, "Node %" PRIu64 ", zone %8s", field_uint(c, node, "node"), "rmem");
		json_array_foreach(list, order, pieces)
		{
			fprintf(out, " %6" PRId64, item_int(c, pieces, "free_pieces"));
		}
		putc('\n', out);
	}
	return 0;
}
