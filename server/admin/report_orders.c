/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/report.h"
#include "server/admin/report_parts.h"
#include "server/memory/growth.h"

static json_t *make_allocation(struct draft *d, const struct allocation *a)
{
	const struct report_view *view = d->view;
	json_t *o = json_object();

	draft_set_number(d, o, "id", a->serial);
	draft_set_addr(d, o, "addr", a->addr);
	draft_set_number(d, o, "node", allocation_node(a));
	draft_set_number(d, o, "bytes", a->bytes);
	draft_set_number(d, o, "block_bytes", allocation_block_bytes(a));
	draft_set_time(d, o, "birth_ns", a->birth_ns);
	draft_set_number(d, o, "age_ms", part_ago_ms(view, a->birth_ns));
	draft_set_number(
		d, o, "attached_sessions", view->attached ? view->attached(view->arg, a) : 0);
	return o;
}

static json_t *make_holders(struct draft *d, const struct report_loss *loss)
{
	json_t *holders = json_array();

	for (size_t i = 0; i < loss->nlosers; i++) {
		const struct session_record *r =
			sessions_get(d->view->sessions, loss->losers[i].slot);

		draft_append(d, holders,
			part_holder(d, loss->losers[i].slot, r, &loss->losers[i].share));
	}
	return holders;
}

json_t *report_loss(const struct report_view *view, const char *name, bool preview,
	const struct report_loss *loss)
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, name);

	draft_set(&d, answer, "preview", json_boolean(preview));
	draft_set_number(&d, answer, "sessions_total", loss->sessions);
	draft_set_number(&d, answer, "blocks", loss->all.blocks);
	draft_set_number(&d, answer, "bytes", loss->all.bytes);
	draft_set_number(&d, answer, "block_bytes", loss->all.block_bytes);
	draft_set(&d, answer, "holders", make_holders(&d, loss));
	if (loss->allocation)
		draft_set(&d, answer, "allocation", make_allocation(&d, loss->allocation));
	return draft_finish(&d, answer);
}

static json_t *make_resized(struct draft *d, const struct growth_node *n)
{
	json_t *o = json_object();

	draft_set_number(d, o, "node", n->node);
	draft_set_number(d, o, "was_bytes", n->was_bytes);
	draft_set_number(d, o, "wanted_bytes", n->wanted_bytes);
	draft_set_number(d, o, "size_bytes", n->size_bytes);
	draft_set_number(d, o, "coming_bytes", n->coming_bytes);
	return o;
}

json_t *report_resize(const struct report_view *view, const struct growth_outcome *outcome,
	const struct report_loss *in_the_way)
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, "resize"), *nodes = json_array();

	for (size_t i = 0; i < outcome->count; i++)
		draft_append(&d, nodes, make_resized(&d, &outcome->nodes[i]));
	draft_set(&d, answer, "nodes", nodes);
	draft_set_number(&d, answer, "sessions_total", in_the_way->sessions);
	draft_set(&d, answer, "holders", make_holders(&d, in_the_way));
	return draft_finish(&d, answer);
}

json_t *report_log_level(const struct report_view *view, const char *level, const char *was)
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, "log-level");

	draft_set_text(&d, answer, "level", level);
	draft_set_text(&d, answer, "was", was);
	return draft_finish(&d, answer);
}
