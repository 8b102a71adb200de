/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "server/admin/report_evidence.h"
#include "server/admin/report.h"
#include "server/admin/report_parts.h"

#define HOLDERS_MAX 16 /* listed per record; all are counted */

static json_t *make_audit(
	struct draft *d, const struct audit_result *result, uint64_t age_ms, bool made_now)
{
	json_t *o = json_object();

	draft_set_number(d, o, "serial", d->view->audits.serial);
	draft_set_time(d, o, "time_ns", result->now_ns);
	draft_set_number(d, o, "scans_agreeing", 2);
	draft_set_number(d, o, "scans_needed", 2);
	draft_set_number(d, o, "duration_us", d->view->audits.duration_us);
	draft_set_number(d, o, "age_ms", age_ms);
	draft_set(d, o, "made_now", json_boolean(made_now));
	return o;
}

static json_t *make_coverage(struct draft *d, const struct audit_result *result)
{
	json_t *o = json_object();

	draft_set_number(d, o, "allocations_total", result->allocations_total);
	draft_set_number(d, o, "allocations_audited", result->allocations_total);
	draft_set_number(d, o, "allocations_without_site", result->allocations_without_site);
	draft_set_number(d, o, "objects_total", result->objects_total);
	draft_set_number(d, o, "slabs_total", result->slabs_total);
	draft_set_number(d, o, "slabs_unread", result->slabs_unread);
	draft_set_number(d, o, "corrupt_records", result->corrupt_records);
	draft_set_number(d, o, "orphans", result->orphans);
	draft_set_number(d, o, "sessions_total", result->sessions_total);
	draft_set_number(d, o, "sessions_not_scanned", result->sessions_not_judged);
	/* Most of these blocks were leaks; the report "reclaimed" lists them. */
	draft_set_number(d, o, "reclaimed_blocks", d->view->counters.reclaimed_blocks);
	draft_set_number(d, o, "reclaimed_bytes", d->view->counters.reclaimed_bytes);
	draft_set_number(d, o, "unacknowledged", history_news(d->view->history));
	return o;
}

/* A session that was forgotten since the audit has no record any more, but had a state then. */
static json_t *make_holder(struct draft *d, const struct audit_holder *h)
{
	const struct session_record *r = part_session(d->view, h->session, h->session_serial);
	const struct ledger_share share = {
		.blocks = h->blocks, .bytes = h->bytes, .block_bytes = h->block_bytes
	};
	json_t *o = part_holder(d, h->session, r, &share);

	draft_set_number(d, o, "objects", h->objects);
	part_journal(d, o, !h->orphan && h->then.exact, !h->orphan && !h->then.exact,
		audit_journal_age_ns(&h->then, d->view->now_ns));
	if (!r && !h->orphan) {
		draft_set(d, o, "state", json_string(session_state_name(h->then.state)));
		draft_set_time(d, o, "state_since_ns", h->then.since_ns);
		draft_set_number(d, o, "state_for_ms", part_ago_ms(d->view, h->then.since_ns));
	}
	return o;
}

static json_t *make_holders(struct draft *d, const struct audit_finding *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->nholders && i < HOLDERS_MAX; i++)
		draft_append(d, list, make_holder(d, &f->holders[i]));
	return list;
}

static void set_ages(struct draft *d, json_t *o, const struct audit_finding *f)
{
	draft_set_time(d, o, "birth_min_ns", f->birth_min_ns);
	draft_set_time(d, o, "birth_max_ns", f->birth_max_ns);
	draft_set_number(d, o, "age_min_ms", part_ago_ms(d->view, f->birth_max_ns));
	draft_set_number(d, o, "age_avg_ms", f->blocks ? f->age_sum_ms / f->blocks : 0);
	draft_set_number(d, o, "age_max_ms", part_ago_ms(d->view, f->birth_min_ns));
}

static json_t *make_nodes(struct draft *d, uint64_t nodes)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < ADDR_MAX_NODES; i++) {
		if (nodes >> i & 1)
			draft_append(d, list, json_integer(i));
	}
	return list;
}

/* The finding's site, or 0 if its number belongs to another site by now. */
static uint32_t same_site(const struct report_view *view, const struct audit_finding *f)
{
	const struct site_record *site = sites_get(view->sites, f->site);

	return site && site->hash == f->site_hash ? f->site : 0;
}

static void set_journal(struct draft *d, json_t *o, const struct audit_finding *f)
{
	struct evidence_journal journal;

	evidence_journal(d->view, f, &journal);
	part_journal(d, o, journal.exact, journal.lazy, journal.age_ns);
}

static void set_corrupt(struct draft *d, json_t *o, const struct audit_finding *f)
{
	json_t *corrupt = json_object();

	if (!f->corrupt) {
		json_decref(corrupt);
		draft_set(d, o, "corrupt", json_null());
		return;
	}
	draft_set_number(d, corrupt, "slabs", f->slabs);
	draft_set_addr(d, corrupt, "first_slab", f->slab_addr);
	draft_set(d, o, "corrupt", corrupt);
}

static json_t *make_record(struct draft *d, const struct audit_finding *f)
{
	json_t *o = json_object();
	char id[16], site[24];

	snprintf(id, sizeof(id), "%08" PRIx32, (uint32_t)(f->id >> 32));
	draft_set(d, o, "id", json_string(id));
	draft_set(d, o, "kind", json_string(audit_kind_name(f->kind)));
	draft_set_number(d, o, "blocks", f->blocks);
	draft_set_number(d, o, "objects", f->objects);
	draft_set_number(d, o, "bytes", f->bytes);
	draft_set_number(d, o, "block_bytes", f->block_bytes);
	draft_set_number(d, o, "waste_bytes", f->block_bytes - f->bytes);
	set_ages(d, o, f);
	draft_set(d, o, "nodes", make_nodes(d, f->nodes));
	draft_set_number(d, o, "unconfirmed_blocks", f->unconfirmed);
	draft_set(d, o, "holders", make_holders(d, f));
	draft_set_number(d, o, "holders_total", f->nholders);
	snprintf(site, sizeof(site), "%016" PRIx64, f->site_hash);
	draft_set_text(d, o, "site", f->site_hash ? site : "");
	draft_set(d, o, "stack", part_stack(d, same_site(d->view, f)));
	set_journal(d, o, f);
	set_corrupt(d, o, f);
	draft_set(d, o, "evidence", evidence_list(d, f));
	return o;
}

static json_t *make_summary(struct draft *d, const struct audit_result *result)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < AUDIT_KINDS; i++) {
		json_t *total = json_object();

		draft_set_number(d, total, "blocks", result->totals[i].blocks);
		draft_set_number(d, total, "objects", result->totals[i].objects);
		draft_set_number(d, total, "bytes", result->totals[i].bytes);
		draft_set(d, o, audit_kind_name((enum audit_kind)i), total);
	}
	return o;
}

static json_t *make_all_nodes(struct draft *d, const struct audit_result *result)
{
	json_t *nodes = json_array();

	for (size_t i = 0; i < result->nnodes; i++) {
		json_t *node = part_node(d, &result->nodes[i]);

		draft_set(d, node, "miscounted", json_boolean(result->nodes[i].miscounted));
		draft_append(d, nodes, node);
	}
	return nodes;
}

struct leaks_report {
	struct report report; /* first */
	const struct audit_result *result;
	size_t at;
};

/* The view as of the audit: all ages end there. */
static struct report_view as_of(const struct report_view *view, const struct audit_result *result)
{
	struct report_view then = *view;

	then.now_ns = result->now_ns;
	then.now_real_ns -= view->now_ns - result->now_ns;
	return then;
}

static json_t *next_record(struct report *report, struct draft *d)
{
	struct leaks_report *leaks = (struct leaks_report *)report;
	const struct report_view then = as_of(d->view, leaks->result);
	struct draft old = { .view = &then };
	json_t *record;

	if (leaks->at == leaks->result->nfindings)
		return NULL;
	record = make_record(&old, &leaks->result->findings[leaks->at++]);
	d->failed |= old.failed;
	return record;
}

struct report *report_leaks(
	const struct report_view *view, const struct audit_result *result, bool made_now)
{
	const struct report_view then = as_of(view, result);
	struct report *r = report_begin(sizeof(struct leaks_report));
	struct draft d = { .view = &then };

	if (!r)
		return NULL;
	((struct leaks_report *)r)->result = result;
	r->list = "records";
	r->next = next_record;
	r->head = draft_begin(&d, "leaks");
	r->tail = json_object();
	draft_set(&d, r->head, "audit",
		make_audit(&d, result, part_ago_ms(view, result->now_ns), made_now));
	draft_set(&d, r->head, "coverage", make_coverage(&d, result));
	draft_set(&d, r->tail, "summary", make_summary(&d, result));
	draft_set(&d, r->tail, "nodes", make_all_nodes(&d, result));
	if (!d.failed)
		return r;
	report_end(r);
	return NULL;
}

json_t *report_audit(const struct report_view *view, const struct audit_result *result)
{
	const struct report_view then = as_of(view, result);
	struct draft d = { .view = &then };
	json_t *answer = draft_begin(&d, "audit");

	draft_set(&d, answer, "audit",
		make_audit(&d, result, part_ago_ms(view, result->now_ns), true));
	draft_set(&d, answer, "coverage", make_coverage(&d, result));
	draft_set(&d, answer, "summary", make_summary(&d, result));
	draft_set(&d, answer, "nodes", make_all_nodes(&d, result));
	return draft_finish(&d, answer);
}
