/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/report_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

static json_t *make_server(struct draft *d)
{
	const struct report_server *s = &d->view->server;
	json_t *o = json_object();

	draft_set_text(d, o, "version", s->version);
	draft_set_number(d, o, "pid", s->pid);
	draft_set_text(d, o, "host", s->host);
	draft_set_number(d, o, "port", s->port);
	draft_set_time(d, o, "started_ns", s->started_ns);
	draft_set_number(d, o, "uptime_ms", s->uptime_ms);
	return o;
}

json_t *draft_begin(struct draft *d, const char *report)
{
	json_t *answer = json_object();

	draft_set(d, answer, "schema", json_integer(1));
	draft_set(d, answer, "report", json_string(report));
	draft_set(d, answer, "server", make_server(d));
	return answer;
}

json_t *draft_finish(struct draft *d, json_t *answer)
{
	if (!d->failed)
		return answer;
	json_decref(answer);
	return NULL;
}

void draft_set(struct draft *d, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		d->failed = true;
}

void draft_append(struct draft *d, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0)
		d->failed = true;
}

void draft_set_number(struct draft *d, json_t *object, const char *key, uint64_t value)
{
	/* jansson's integers are signed; a larger value comes from a damaged file anyway. */
	draft_set(d, object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void draft_set_known(struct draft *d, json_t *object, const char *key, uint64_t value)
{
	draft_set(d, object, key, value ? json_integer((json_int_t)value) : json_null());
}

void draft_set_text(struct draft *d, json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);
	char *ascii;

	if (!value) {
		ascii = strdup(text);
		for (char *at = ascii; at && *at; at++) {
			if ((unsigned char)*at >= 0x80)
				*at = '?';
		}
		value = ascii ? json_string(ascii) : NULL;
		free(ascii);
	}
	draft_set(d, object, key, value);
}

void draft_set_addr(struct draft *d, json_t *object, const char *key, uint64_t addr)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, addr);
	draft_set(d, object, key, json_string(text));
}

/* By the wall clock as it is set now, however it was set at that time. */
static uint64_t real_of(const struct report_view *view, uint64_t time_ns)
{
	const uint64_t ago_ns = view->now_ns > time_ns ? view->now_ns - time_ns : 0;

	return view->now_real_ns > ago_ns ? view->now_real_ns - ago_ns : 1;
}

void draft_set_time(struct draft *d, json_t *object, const char *key, uint64_t time_ns)
{
	draft_set_number(d, object, key, time_ns ? real_of(d->view, time_ns) : 0);
}

uint64_t part_ago_ms(const struct report_view *view, uint64_t since_ns)
{
	return view->now_ns > since_ns ? (view->now_ns - since_ns) / NSEC_PER_MSEC : 0;
}

json_t *part_node(struct draft *d, const struct audit_node *node)
{
	json_t *o = json_object();

	draft_set_number(d, o, "node", node->node);
	draft_set_number(d, o, "registered_bytes", node->registered_bytes);
	draft_set_number(d, o, "live_bytes", node->live_bytes);
	draft_set_number(d, o, "courtesy_bytes", node->courtesy_bytes);
	draft_set_number(d, o, "quarantine_bytes", node->quarantine_bytes);
	draft_set_number(d, o, "zombie_bytes", node->zombie_bytes);
	draft_set_number(d, o, "free_bytes", node->free_bytes);
	draft_set_number(d, o, "cached_bytes", node->cached_bytes);
	draft_set_number(d, o, "metadata_bytes", node->metadata_bytes);
	draft_set(d, o, "unaccounted_bytes", json_integer(node->unaccounted_bytes));
	return o;
}

const struct report_node *part_find_node(const struct report_view *view, unsigned node)
{
	for (size_t i = 0; i < view->nnodes; i++) {
		if (view->nodes[i].given.node == node)
			return &view->nodes[i];
	}
	return NULL;
}

struct audit_input part_audit_input(
	const struct report_view *view, struct audit_node nodes[ADDR_MAX_NODES])
{
	struct audit_input in = { .ledger = view->ledger,
		.sessions = view->sessions,
		.sites = view->sites,
		.now_ns = view->now_ns,
		.nodes = nodes };

	while (in.nnodes < view->nnodes && in.nnodes < ADDR_MAX_NODES) {
		nodes[in.nnodes] = view->nodes[in.nnodes].given;
		in.nnodes++;
	}
	return in;
}

/* ---- holders ---- */

const struct session_record *part_session(
	const struct report_view *view, uint32_t slot, uint64_t serial)
{
	const struct session_record *r = sessions_get(view->sessions, slot);

	return r && r->serial == serial ? r : NULL;
}

const char *part_lease(const struct report_view *view, uint32_t slot,
	const struct session_record *r, uint64_t *out_for_ms)
{
	bool over = r->state == SESSION_CLOSED || r->state == SESSION_DEAD;
	enum lease_state state;

	*out_for_ms = 0;
	/* For a CLOSED or DEAD session, the record says whether the lease had expired. */
	if (!over && view->lease && view->lease(view->arg, slot, &state, out_for_ms))
		return lease_state_name(state);
	if (r->expired_ns == 0)
		return "none";
	*out_for_ms = part_ago_ms(view, r->expired_ns);
	return lease_state_name(LEASE_EXPIRED);
}

static const char *evidence_name(uint32_t evidence)
{
	switch (evidence) {
	case HOLDER_CLOSED:
		return "closed";
	case HOLDER_PID_GONE:
		return "pid-gone";
	case HOLDER_LEASE_OVER:
		return "lease-over";
	case HOLDER_LET_GO:
		return "let-go";
	default:
		return "none";
	}
}

void part_session_id(struct draft *d, json_t *o, const uint8_t id[ID_SIZE])
{
	char text[2 * ID_SIZE + 1];

	for (unsigned i = 0; i < ID_SIZE; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", id[i]);
	draft_set(d, o, "session", json_string(text));
}

static void set_evidence(struct draft *d, json_t *o, const struct session_record *r)
{
	/* Only CLOSED and DEAD sessions have evidence; a kill may leave a value in other records. */
	bool over = r->state == SESSION_CLOSED || r->state == SESSION_DEAD;
	uint32_t evidence = over ? r->evidence : HOLDER_NO_EVIDENCE;

	draft_set(d, o, "evidence", json_string(evidence_name(evidence)));
	draft_set(d, o, "evidence_text",
		json_string(evidence == HOLDER_NO_EVIDENCE
				    ? ""
				    : holder_evidence_text((enum holder_evidence)evidence)));
}

void part_journal(struct draft *d, json_t *o, bool exact, bool lazy, uint64_t age_ns)
{
	const char *mode = exact && lazy ? "mixed" : exact ? "exact" : lazy ? "lazy" : "none";

	draft_set(d, o, "journal", json_string(mode));
	draft_set_number(d, o, "journal_age_ms", lazy ? age_ns / NSEC_PER_MSEC : 0);
}

/* How old the records of its objects may be. */
static void set_journal(struct draft *d, json_t *o, const struct session_record *r)
{
	const struct audit_holder_state h = audit_holder_of(r);

	part_journal(d, o, r && h.exact, r && !h.exact, audit_journal_age_ns(&h, d->view->now_ns));
}

/* For an unknown session: the same keys, so that a reader needs no second case. */
static const struct session_record nobody;

json_t *part_holder(struct draft *d, uint32_t slot, const struct session_record *r,
	const struct ledger_share *share)
{
	const struct session_record *known = r ? r : &nobody;
	const struct identity *who = &known->identity;
	json_t *o = json_object();
	uint64_t lease_ms = 0;

	part_session_id(d, o, known->id);
	draft_set(d, o, "state", json_string(r ? session_state_name(r->state) : "unknown"));
	draft_set(d, o, "lease", json_string(r ? part_lease(d->view, slot, r, &lease_ms) : "none"));
	draft_set_number(d, o, "lease_since_ms", lease_ms);
	draft_set_number(d, o, "pid", who->pid);
	draft_set_text(d, o, "host", who->host);
	draft_set_number(d, o, "uid", who->uid);
	draft_set_text(d, o, "exe", who->exe);
	draft_set_text(d, o, "cmdline", who->cmdline);
	draft_set_text(d, o, "job", who->job);
	set_evidence(d, o, known);
	draft_set_time(d, o, "state_since_ns", known->state_since_ns);
	draft_set_number(d, o, "state_for_ms", r ? part_ago_ms(d->view, r->state_since_ns) : 0);
	draft_set_time(d, o, "opened_ns", known->opened_ns);
	draft_set_time(d, o, "seen_ns", known->seen_ns);
	draft_set_number(d, o, "seen_ago_ms", r ? part_ago_ms(d->view, r->seen_ns) : 0);
	set_journal(d, o, r);
	draft_set_number(d, o, "blocks", share->blocks);
	draft_set_number(d, o, "bytes", share->bytes);
	draft_set_number(d, o, "block_bytes", share->block_bytes);
	return o;
}

/* ---- stacks ---- */

static void set_build_id(struct draft *d, json_t *o, const struct site_module *m)
{
	char text[2 * BUILD_ID_SIZE + 1];
	bool any = false;

	for (unsigned i = 0; i < BUILD_ID_SIZE; i++) {
		snprintf(text + 2 * (size_t)i, 3, "%02x", m->build_id[i]);
		any |= m->build_id[i] != 0;
	}
	draft_set(d, o, "build_id", any ? json_string(text) : json_null());
}

static void set_text_or_null(struct draft *d, json_t *o, const char *key, const char *text)
{
	if (text && text[0])
		draft_set_text(d, o, key, text);
	else
		draft_set(d, o, key, json_null());
}

/* For a frame without a name, the client puts the reason into file (docs/PROTOCOL.md). */
static bool is_resolved(const struct site_name *name)
{
	return name && (name->function[0] || name->line);
}

/* name: NULL if the client has sent no names. */
static const char *why_nameless(const struct site_name *name, const struct site_module *m)
{
	if (!name)
		return "the process was gone before it sent its names";
	if (is_resolved(name) && name->function[0])
		return name->file[0] ? NULL : "no debug information for it";
	if (is_resolved(name))
		return "no symbol there";
	if (!m->path[0])
		return "the address is in no file";
	return name->file[0] ? name->file : "no debug information and no symbol there";
}

/* name: NULL if there is none. */
static json_t *make_frame(
	struct draft *d, const struct site_record *site, unsigned i, const struct site_name *name)
{
	const struct site_frame *frame = &site->frames.frames[i];
	const struct site_module *m = &site->frames.modules[frame->module];
	const char *errinfo = why_nameless(name, m);
	bool resolved = is_resolved(name);
	json_t *o = json_object();

	set_text_or_null(d, o, "function", resolved ? name->function : NULL);
	set_text_or_null(d, o, "file", resolved ? name->file : NULL);
	draft_set(d, o, "line",
		resolved && name->file[0] && name->line ? json_integer(name->line) : json_null());
	set_text_or_null(d, o, "module", m->path);
	set_build_id(d, o, m);
	draft_set_addr(d, o, "offset", frame->offset);
	if (name && name->inlined)
		draft_set(d, o, "inlined", json_true());
	if (errinfo)
		draft_set_text(d, o, "why", errinfo);
	return o;
}

json_t *part_stack(struct draft *d, uint32_t site)
{
	const struct site_record *r = sites_get(d->view->sites, site);
	json_t *stack = json_array();
	unsigned cursor = 0;

	for (unsigned i = 0; r && i < r->frames.nframes; i++) {
		struct site_name name;
		bool more;

		do {
			more = sites_next_name(r, &cursor, &name);
			draft_append(d, stack, make_frame(d, r, i, more ? &name : NULL));
		} while (more && name.inlined);
	}
	return stack;
}
