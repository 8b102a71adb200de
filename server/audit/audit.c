/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One pass over the ledger per scan, in the order of the slots. What a scan has to remember is only
 * what it would call definite: sorted by slot as it comes, so two scans are compared by walking
 * through both.
 */
#include "server/audit/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/audit_merge.h"

struct suspect {
	uint32_t slot;
	uint64_t serial; /* a slot may have got another allocation since */
};

struct audit_scan {
	struct suspect *suspects; /* by slot */
	size_t count, room;
};

/* The session that an allocation belongs to, or NULL for an orphan. */
static const struct session_record *holder_of(
	const struct audit_input *in, const struct allocation *a)
{
	const struct session_record *r = sessions_get(in->sessions, a->session);

	return r && r->serial == a->session_serial ? r : NULL;
}

/* What one scan says, without another one to agree. */
static enum audit_kind classify(const struct audit_input *in, const struct allocation *a)
{
	const struct session_record *r;

	if (a->state == ALLOCATION_ZOMBIE)
		return AUDIT_ZOMBIE;
	if (a->state != ALLOCATION_LIVE)
		return AUDIT_LIMBO;
	r = holder_of(in, a);
	if (!r)
		return AUDIT_DEFINITE;
	switch (r->state) {
	case SESSION_CONNECTED:
		/* A connection whose lease is over: partitioned, perhaps. Cannot know. */
		return r->expired_ns == 0 ? AUDIT_REACHABLE : AUDIT_LIMBO;
	case SESSION_CLOSED:
		return AUDIT_DEFINITE;
	case SESSION_DEAD:
		return r->evidence != HOLDER_NO_EVIDENCE ? AUDIT_DEFINITE : AUDIT_LIMBO;
	default:
		return AUDIT_LIMBO;
	}
}

static int push(struct audit_scan *s, uint32_t slot, uint64_t serial)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct suspect *suspects = realloc(s->suspects, room * sizeof(*suspects));

		if (!suspects)
			return -ENOMEM;
		s->suspects = suspects;
		s->room = room;
	}
	s->suspects[s->count++] = (struct suspect){ .slot = slot, .serial = serial };
	return 0;
}

int audit_scan_create(const struct audit_input *in, struct audit_scan **out)
{
	struct audit_scan *s = calloc(1, sizeof(*s));
	const struct allocation *a;
	uint32_t cursor = 0;

	if (!s)
		return -ENOMEM;
	while ((a = ledger_next(in->ledger, &cursor)) != NULL) {
		if (classify(in, a) != AUDIT_DEFINITE)
			continue;
		if (push(s, ledger_slot(in->ledger, a), a->serial) != 0) {
			audit_scan_destroy(s);
			return -ENOMEM;
		}
	}
	*out = s;
	return 0;
}

void audit_scan_destroy(struct audit_scan *s)
{
	if (!s)
		return;
	free(s->suspects);
	free(s);
}

static int by_slot(const void *key, const void *item)
{
	uint32_t slot = *(const uint32_t *)key, other = ((const struct suspect *)item)->slot;

	return slot < other ? -1 : slot > other;
}

static bool scan_agrees(const struct audit_scan *s, uint32_t slot, uint64_t serial)
{
	const struct suspect *found;

	if (!s || s->count == 0)
		return false;
	found = bsearch(&slot, s->suspects, s->count, sizeof(*s->suspects), by_slot);
	return found && found->serial == serial;
}

enum audit_kind audit_judge(
	const struct audit_input *in, const struct audit_scan *previous, const struct allocation *a)
{
	enum audit_kind kind = classify(in, a);

	if (kind == AUDIT_DEFINITE && !scan_agrees(previous, ledger_slot(in->ledger, a), a->serial))
		return AUDIT_LIMBO;
	return kind;
}

/* ---- conservation ---- */

/* As the ledger's own sums (server/ledger/accounts.c), and on purpose not with their code: the one proves the other. */
static enum ledger_class class_of(const struct audit_input *in, const struct allocation *a)
{
	const struct session_record *r;

	if (a->state == ALLOCATION_ZOMBIE)
		return CLASS_ZOMBIE;
	if (a->state != ALLOCATION_LIVE)
		return CLASS_QUARANTINE;
	r = holder_of(in, a);
	return r && r->state == SESSION_CONNECTED ? CLASS_LIVE : CLASS_COURTESY;
}

static bool is_empty(const struct ledger_account *account)
{
	static const struct ledger_account empty;

	return memcmp(account, &empty, sizeof(empty)) == 0;
}

/* The numbers of a node that are given; a node may be given in parts. */
static bool given(const struct audit_input *in, unsigned node, struct audit_node *out)
{
	bool found = false;

	*out = (struct audit_node){ .node = node };
	for (size_t i = 0; i < in->nnodes; i++) {
		if (in->nodes[i].node % ADDR_MAX_NODES != node)
			continue;
		out->registered_bytes += in->nodes[i].registered_bytes;
		out->free_bytes += in->nodes[i].free_bytes;
		out->metadata_bytes += in->nodes[i].metadata_bytes;
		found = true;
	}
	return found;
}

static void fill(struct audit_node *node, const struct ledger_account *account)
{
	node->live_bytes = account->classes[CLASS_LIVE].block_bytes;
	node->courtesy_bytes = account->classes[CLASS_COURTESY].block_bytes;
	node->quarantine_bytes = account->classes[CLASS_QUARANTINE].block_bytes;
	node->zombie_bytes = account->classes[CLASS_ZOMBIE].block_bytes;
	node->unaccounted_bytes =
		(int64_t)(node->registered_bytes - node->free_bytes - node->live_bytes -
			  node->courtesy_bytes - node->quarantine_bytes - node->zombie_bytes -
			  node->metadata_bytes);
}

size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES])
{
	size_t n = 0;

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		const struct ledger_account *account = ledger_account(in->ledger, node);

		if (given(in, node, &out[n]) || !is_empty(account))
			fill(&out[n++], account);
	}
	return n;
}

size_t audit_count_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES])
{
	struct ledger_account counted[ADDR_MAX_NODES] = { 0 };
	const struct allocation *a;
	uint32_t cursor = 0;
	size_t n = 0;

	while ((a = ledger_next(in->ledger, &cursor)) != NULL) {
		struct ledger_share *share = &counted[addr_node(a->addr)].classes[class_of(in, a)];

		share->blocks++;
		share->bytes += a->bytes;
		share->block_bytes += allocation_block_bytes(a);
	}
	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		const struct ledger_account *account = ledger_account(in->ledger, node);

		if (!given(in, node, &out[n]) && is_empty(&counted[node]) && is_empty(account))
			continue;
		fill(&out[n], &counted[node]);
		out[n++].miscounted = memcmp(account, &counted[node], sizeof(*account)) != 0;
	}
	return n;
}

/* ---- the whole audit ---- */

static bool is_too_young(const struct audit_input *in, const struct allocation *a)
{
	uint64_t age_ns = in->now_ns > a->birth_ns ? in->now_ns - a->birth_ns : 0;

	return age_ns < in->min_age_ns;
}

static int audit_one(const struct audit_input *in, const struct audit_scan *previous,
	const struct allocation *a, struct audit_cells *cells, struct audit_result *r)
{
	struct audit_member m = { .allocation = a, .now_ns = in->now_ns };

	r->allocations_total++;
	m.site = sites_get(in->sites, a->site) ? a->site : 0;
	m.orphan = !holder_of(in, a);
	r->orphans += m.orphan;
	r->allocations_without_site += m.site == 0;
	if (is_too_young(in, a))
		return 0;
	r->allocations_audited++;
	m.kind = audit_judge(in, previous, a);
	m.unconfirmed = m.kind == AUDIT_LIMBO && classify(in, a) == AUDIT_DEFINITE;
	r->totals[m.kind].blocks++;
	r->totals[m.kind].bytes += a->bytes;
	return audit_cells_add(cells, &m);
}

static int audit_all(const struct audit_input *in, const struct audit_scan *previous,
	struct audit_cells *cells, struct audit_result *r)
{
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(in->ledger, &cursor)) != NULL) {
		if (a->state != ALLOCATION_LIVE && a->state != ALLOCATION_ZOMBIE)
			continue;
		if (audit_one(in, previous, a, cells, r) != 0)
			return -ENOMEM;
	}
	return audit_cells_merge(cells, in->sites, r);
}

int audit_run(
	const struct audit_input *in, const struct audit_scan *previous, struct audit_result **out)
{
	struct audit_cells *cells = NULL;
	struct audit_result *r = calloc(1, sizeof(*r));
	int err = r ? audit_cells_create(&cells) : -ENOMEM;

	if (!err)
		err = audit_all(in, previous, cells, r);
	audit_cells_destroy(cells);
	if (err) {
		audit_result_destroy(r);
		return err;
	}
	r->nnodes = audit_count_nodes(in, r->nodes);
	r->sessions_total = sessions_count(in->sessions);
	r->now_ns = in->now_ns;
	*out = r;
	return 0;
}

void audit_result_destroy(struct audit_result *r)
{
	if (!r)
		return;
	audit_findings_destroy(r->findings, r->nfindings);
	free(r);
}
