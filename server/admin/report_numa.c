/* SPDX-License-Identifier: BSD-3-Clause */
/* The reports numastat and buddyinfo. */
#include "server/admin/report.h"
#include "server/admin/report_parts.h"
#include "server/memory/buddy.h"

static json_t *make_counts(struct draft *d, const struct report_node *node)
{
	const struct numastat *s = &node->numastat;
	json_t *o = json_object();

	draft_set_number(d, o, "node", node->given.node);
	draft_set_number(d, o, "numa_hit", s->numa_hit);
	draft_set_number(d, o, "numa_miss", s->numa_miss);
	draft_set_number(d, o, "numa_foreign", s->numa_foreign);
	draft_set_number(d, o, "interleave_hit", s->interleave_hit);
	draft_set_number(d, o, "local_node", s->local_node);
	draft_set_number(d, o, "other_node", s->other_node);
	return o;
}

#define ORDERS 20 /* 4 KiB to 2 GiB; a longer piece counts as several of 2 GiB */

/* In all segments of a node. */
static void count_pieces(const struct report_view *view, unsigned node, uint64_t out[ORDERS])
{
	for (size_t i = 0; i < view->nsegments; i++) {
		for (unsigned order = 0; view->segments[i].node == node && order < BUDDY_ORDERS;
			order++) {
			const unsigned as = order < ORDERS ? order : ORDERS - 1;

			out[as] += buddy_free_pieces(view->segments[i].blocks, order)
				   << (order - as);
		}
	}
}

static json_t *make_pieces(struct draft *d, const struct report_node *node)
{
	json_t *o = json_object(), *list = json_array();
	uint64_t pieces[ORDERS] = { 0 };

	draft_set_number(d, o, "node", node->given.node);
	count_pieces(d->view, node->given.node, pieces);
	for (unsigned order = 0; order < ORDERS; order++)
		draft_append(d, list, json_integer((json_int_t)pieces[order]));
	draft_set(d, o, "free_pieces", list);
	return o;
}

static json_t *make_report(const struct report_view *view, const char *name,
	json_t *make(struct draft *d, const struct report_node *node))
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, name), *list = json_array();

	for (size_t i = 0; i < view->nnodes; i++)
		draft_append(&d, list, make(&d, &view->nodes[i]));
	draft_set(&d, answer, "nodes", list);
	return draft_finish(&d, answer);
}

json_t *report_numastat(const struct report_view *view)
{
	return make_report(view, "numastat", make_counts);
}

json_t *report_buddyinfo(const struct report_view *view)
{
	return make_report(view, "buddyinfo", make_pieces);
}
