/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/report_parts.h"
#include "server/admin/report_quota.h"

json_t *report_error(int err, const char *message)
{
	const char *code = strerrorname_np(err < 0 ? -err : err);
	struct draft d = { .view = NULL };
	json_t *answer = json_object(), *error = json_object();

	draft_set(&d, error, "code", json_string(code ? code : "EIO"));
	draft_set_text(&d, error, "message", message);
	draft_set(&d, answer, "schema", json_integer(1));
	draft_set(&d, answer, "error", error);
	return draft_finish(&d, answer);
}

/* ---- status ---- */

static json_t *make_devices(struct draft *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->view->ndevices; i++) {
		const struct report_device *device = &d->view->devices[i];
		json_t *o = json_object();

		draft_set_text(d, o, "name", device->name);
		draft_set_text(d, o, "address", device->address);
		draft_set_text(d, o, "protection", device->protection);
		draft_set_text(d, o, "other_queue_pair", device->other_queue_pair);
		draft_set_text(d, o, "revoked_key", device->revoked_key);
		draft_set_text(d, o, "outside_window", device->outside_window);
		draft_set_text(d, o, "caution", device->caution);
		draft_set(d, o, "node",
			device->node == RANKING_NOWHERE ? json_null() : json_integer(device->node));
		draft_append(d, list, o);
	}
	return list;
}

static json_t *make_best_in(struct draft *d, unsigned best_in)
{
	json_t *list = json_array();

	for (unsigned a = PLACEMENT_CAPACITY; a < PLACEMENT_ATTRIBUTES; a++) {
		if (best_in & 1U << a)
			draft_append(d, list, json_string(ranking_attribute_name(a)));
	}
	return list;
}

static void set_memory(struct draft *d, json_t *o, const struct report_node *node)
{
	draft_set_number(d, o, "cpus", node->cpus);
	draft_set_known(d, o, "memory_bytes", node->memory_bytes);
	draft_set_known(d, o, "bandwidth_mib_s", node->bandwidth_mib_s);
	draft_set_known(d, o, "latency_ns", node->latency_ns);
	draft_set(d, o, "best_in", make_best_in(d, node->best_in));
}

static json_t *make_nodes(struct draft *d)
{
	struct audit_node given[ADDR_MAX_NODES], nodes[ADDR_MAX_NODES];
	struct audit_input in = part_audit_input(d->view, given);
	size_t n = audit_nodes(&in, nodes);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct report_node *known = part_find_node(d->view, nodes[i].node);
		json_t *o = part_node(d, &nodes[i]);

		draft_set_number(d, o, "page_bytes", known ? known->page_bytes : 0);
		draft_set_number(d, o, "largest_free_bytes", known ? known->largest_free_bytes : 0);
		if (known)
			set_memory(d, o, known);
		draft_append(d, list, o);
	}
	return list;
}

static json_t *make_session_counts(struct draft *d)
{
	json_t *o = json_object();

	for (uint32_t state = SESSION_CONNECTED; state <= SESSION_DEAD; state++)
		draft_set_number(d, o, session_state_name(state),
			sessions_count_in(d->view->sessions, (enum session_state)state));
	return o;
}

static json_t *make_allocations(struct draft *d)
{
	struct ledger_share all = { .blocks = 0 };
	json_t *o = json_object();

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		struct ledger_share here = ledger_node_share(d->view->ledger, node);

		all.blocks += here.blocks;
		all.bytes += here.bytes;
		all.block_bytes += here.block_bytes;
		all.slabs += here.slabs;
	}
	draft_set_number(d, o, "blocks", all.blocks);
	draft_set_number(d, o, "bytes", all.bytes);
	draft_set_number(d, o, "block_bytes", all.block_bytes);
	draft_set_number(d, o, "slabs", all.slabs);
	return o;
}

static json_t *make_counters(struct draft *d)
{
	const struct report_counters *c = &d->view->counters;
	json_t *o = json_object();

	draft_set_number(d, o, "allocs", c->allocs);
	draft_set_number(d, o, "frees", c->frees);
	draft_set_number(d, o, "attaches", c->attaches);
	draft_set_number(d, o, "keys_given", c->keys_given);
	draft_set_number(d, o, "resumes", c->resumes);
	draft_set_number(d, o, "expiries", c->expiries);
	draft_set_number(d, o, "reclaimed_blocks", c->reclaimed_blocks);
	draft_set_number(d, o, "reclaimed_bytes", c->reclaimed_bytes);
	draft_set_number(d, o, "refused_requests", c->refused_requests);
	return o;
}

static json_t *make_damage(struct draft *d)
{
	const struct report_damage *damage = &d->view->damage;
	json_t *o = json_object();

	draft_set_number(d, o, "allocations", damage->allocations);
	draft_set_number(d, o, "sessions", damage->sessions);
	draft_set_number(d, o, "sites", damage->sites);
	draft_set_number(d, o, "wiped_bytes", damage->wiped_bytes);
	return o;
}

static json_t *make_growth(struct draft *d)
{
	const struct report_growth *growth = &d->view->growth;
	json_t *o = json_object();

	draft_set_number(d, o, "coming_bytes", growth->coming_bytes);
	draft_set_number(d, o, "ready_bytes", growth->ready_bytes);
	draft_set_text(d, o, "failure", growth->failure ? growth->failure : "");
	return o;
}

json_t *report_status(const struct report_view *view)
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, "status");
	json_t *server = json_object_get(answer, "server");

	draft_set_text(&d, server, "data_dir", view->server.data_dir);
	draft_set_text(&d, server, "admin_socket", view->server.admin_socket);
	draft_set(&d, answer, "devices", make_devices(&d));
	draft_set(&d, answer, "nodes", make_nodes(&d));
	draft_set_number(&d, answer, "max_alloc_bytes", view->terms.max_alloc_bytes);
	draft_set(&d, answer, "sessions", make_session_counts(&d));
	draft_set_number(&d, answer, "channels", view->counters.channels);
	draft_set(&d, answer, "allocations", make_allocations(&d));
	draft_set_number(&d, answer, "ttl_ms", view->terms.ttl_ms);
	draft_set_number(&d, answer, "courtesy_ms", view->terms.courtesy_ms);
	draft_set_text(&d, answer, "reclaim", view->terms.reclaim);
	draft_set_number(&d, answer, "audit_interval_ms", view->terms.audit_interval_ms);
	draft_set_number(&d, answer, "audits", view->audits.serial);
	draft_set_time(&d, answer, "last_audit_ns", view->audits.last_ns);
	draft_set_number(&d, answer, "stalls", view->counters.stalls);
	draft_set_number(&d, answer, "stalled_ms", view->counters.stalled_ms);
	draft_set_number(&d, answer, "sites", sites_count(view->sites));
	draft_set(&d, answer, "counters", make_counters(&d));
	draft_set(&d, answer, "damage", make_damage(&d));
	draft_set(&d, answer, "growth", make_growth(&d));
	draft_set(&d, answer, "quotas", part_quota_rules(&d));
	return draft_finish(&d, answer);
}

/* ---- sessions ---- */

struct listed {
	uint32_t slot;
	uint64_t serial;
	uint64_t block_bytes;
	uint8_t id[ID_SIZE];
};

struct sessions_report {
	struct report report; /* first */
	struct listed *list;
	size_t count, at;
};

static int by_share(const void *left, const void *right)
{
	const struct listed *l = left, *r = right;

	if (l->block_bytes != r->block_bytes)
		return l->block_bytes > r->block_bytes ? -1 : 1;
	return memcmp(l->id, r->id, ID_SIZE);
}

static int list_sessions(struct sessions_report *s, const struct report_view *view)
{
	const struct session_record *r;
	uint32_t cursor = 0, slot;

	/* One extra: calloc() of nothing may return NULL. */
	s->list = calloc((size_t)sessions_count(view->sessions) + 1, sizeof(*s->list));
	if (!s->list)
		return -ENOMEM;
	while ((r = sessions_next(view->sessions, &cursor, &slot)) != NULL) {
		struct listed *l = &s->list[s->count++];

		l->slot = slot;
		l->serial = r->serial;
		l->block_bytes = ledger_session_share(view->ledger, slot, r->serial).block_bytes;
		memcpy(l->id, r->id, ID_SIZE);
	}
	qsort(s->list, s->count, sizeof(*s->list), by_share);
	return 0;
}

static json_t *make_session(struct draft *d, const struct session_record *r, const struct listed *l)
{
	const struct report_view *view = d->view;
	const struct ledger_share share = ledger_session_share(view->ledger, l->slot, l->serial);
	json_t *o = part_holder(d, l->slot, r, &share);

	draft_set_number(d, o, "slabs", share.slabs);
	part_quotas(d, o, l->slot);
	draft_set_number(d, o, "channels", view->channels ? view->channels(view->arg, l->slot) : 0);
	return o;
}

static json_t *next_session(struct report *report, struct draft *d)
{
	struct sessions_report *s = (struct sessions_report *)report;

	while (s->at < s->count) {
		const struct listed *l = &s->list[s->at++];
		const struct session_record *r = part_session(d->view, l->slot, l->serial);

		if (r)
			return make_session(d, r, l);
	}
	return NULL;
}

static void end_sessions(struct report *report)
{
	free(((struct sessions_report *)report)->list);
}

struct report *report_sessions(const struct report_view *view)
{
	struct report *r = report_begin(sizeof(struct sessions_report));
	struct draft d = { .view = view };

	if (!r)
		return NULL;
	r->list = "sessions";
	r->next = next_session;
	r->end = end_sessions;
	r->head = draft_finish(&d, draft_begin(&d, "sessions"));
	if (r->head && list_sessions((struct sessions_report *)r, view) == 0)
		return r;
	report_end(r);
	return NULL;
}
