/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scan keeps only suspects: the allocations that it calls definite. They are sorted by slot, the order in which
 * records usually come, so two scans are compared by walking through both.
 */
#include "server/audit/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/audit_merge.h"

struct suspect {
	uint32_t slot;
	uint64_t serial; /* the next scan may find another allocation in the slot */
};

struct audit_scan {
	struct suspect *suspects; /* sorted by slot once audit_end() has run */
	size_t count, room;
	bool unordered;
};

#define MEMBERS 32
#define SUSPECTS_MIN 256

struct audit {
	enum audit_depth depth;
	uint64_t now_ns;
	const struct audit_scan *previous;
	size_t walk;                        /* index in previous where the next search begins */
	struct audit_holder_state *holders; /* by slot of the session table, below nholders */
	uint64_t *site_hashes;              /* by site number; 0: no such site */
	uint32_t nholders, nsites;          /* in those two */
	struct audit_node nodes[ADDR_MAX_NODES];
	size_t nnodes;
	struct ledger_account kept[ADDR_MAX_NODES], counted[ADDR_MAX_NODES];
	struct audit_cells *cells;
	struct audit_member
		members[MEMBERS]; /* batch for the cells; empty between audit_add() calls */
	size_t nmembers;
	struct audit_scan *scan;
	struct audit_result *result;
	bool failed; /* no memory */
};

static struct audit_holder_state state_of(const struct session_record *r)
{
	if (!r)
		return (struct audit_holder_state){ .serial = 0 };
	return (struct audit_holder_state){ .serial = r->serial,
		.since_ns = r->state_since_ns,
		.state = (uint8_t)r->state,
		.evidence = (uint8_t)r->evidence,
		.expired = r->expired_ns != 0 };
}

static bool is_orphan(const struct audit_holder_state *h, const struct allocation *a)
{
	return h->serial == 0 || h->serial != a->session_serial;
}

/* The kind by this scan alone. */
static enum audit_kind classify(const struct audit_holder_state *h, const struct allocation *a)
{
	if (a->state == ALLOCATION_ZOMBIE)
		return AUDIT_ZOMBIE;
	if (a->state != ALLOCATION_LIVE)
		return AUDIT_LIMBO;
	if (is_orphan(h, a))
		return AUDIT_DEFINITE;
	switch (h->state) {
	case SESSION_CONNECTED:
		/* Connected, but the lease is over: perhaps a network partition, so undecided. */
		return h->expired ? AUDIT_LIMBO : AUDIT_REACHABLE;
	case SESSION_CLOSED:
		return AUDIT_DEFINITE;
	case SESSION_DEAD:
		return h->evidence != HOLDER_NO_EVIDENCE ? AUDIT_DEFINITE : AUDIT_LIMBO;
	default:
		return AUDIT_LIMBO;
	}
}

/* ---- scans ---- */

static int push(struct audit_scan *s, uint32_t slot, uint64_t serial)
{
	if (s->count == s->room) {
		size_t room = 2 * s->room;
		struct suspect *suspects = realloc(s->suspects, room * sizeof(*suspects));

		if (!suspects)
			return -ENOMEM;
		s->suspects = suspects;
		s->room = room;
	}
	s->unordered |= s->count > 0 && s->suspects[s->count - 1].slot > slot;
	s->suspects[s->count++] = (struct suspect){ .slot = slot, .serial = serial };
	return 0;
}

static struct audit_scan *make_scan(void)
{
	struct audit_scan *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->room = SUSPECTS_MIN;
	s->suspects = calloc(s->room, sizeof(*s->suspects));
	if (s->suspects)
		return s;
	free(s);
	return NULL;
}

void audit_scan_destroy(struct audit_scan *s)
{
	if (!s)
		return;
	free(s->suspects);
	free(s);
}

static int by_slot(const void *left, const void *right)
{
	uint32_t l = ((const struct suspect *)left)->slot,
		 r = ((const struct suspect *)right)->slot;

	return l < r ? -1 : l > r;
}

/* Index of the first suspect at or above slot. Tries four indices from `from` on, then searches all. */
static size_t seek(const struct audit_scan *s, uint32_t slot, size_t from)
{
	size_t below = 0, above = s->count;

	for (unsigned n = 0; n < 4 && from < s->count; n++, from++)
		if (s->suspects[from].slot >= slot &&
			(from == 0 || s->suspects[from - 1].slot < slot))
			return from;
	while (below < above) {
		size_t middle = below + (above - below) / 2;

		if (s->suspects[middle].slot < slot)
			below = middle + 1;
		else
			above = middle;
	}
	return below;
}

static bool scan_agrees(const struct audit_scan *s, uint32_t slot, uint64_t serial, size_t *walk)
{
	if (!s)
		return false;
	*walk = seek(s, slot, *walk);
	return *walk < s->count && s->suspects[*walk].slot == slot &&
	       s->suspects[*walk].serial == serial;
}

enum audit_kind audit_judge(
	const struct audit_input *in, const struct audit_scan *previous, const struct allocation *a)
{
	const struct audit_holder_state holder = state_of(sessions_get(in->sessions, a->session));
	enum audit_kind kind = classify(&holder, a);
	size_t walk = SIZE_MAX;

	if (kind == AUDIT_DEFINITE &&
		!scan_agrees(previous, ledger_slot(in->ledger, a), a->serial, &walk))
		return AUDIT_LIMBO;
	return kind;
}

/* ---- conservation ---- */

/* Deliberately duplicates the rules of server/ledger/accounts.c, so that each count checks the other. */
static enum ledger_class class_of(const struct audit_holder_state *h, const struct allocation *a)
{
	if (a->state == ALLOCATION_ZOMBIE)
		return CLASS_ZOMBIE;
	if (a->state != ALLOCATION_LIVE)
		return CLASS_QUARANTINE;
	return !is_orphan(h, a) && h->state == SESSION_CONNECTED ? CLASS_LIVE : CLASS_COURTESY;
}

static bool is_empty(const struct ledger_account *account)
{
	static const struct ledger_account empty;

	return memcmp(account, &empty, sizeof(empty)) == 0;
}

/* The given numbers of a node, summed: it may be given in parts. False if it is not given. */
static bool given(
	const struct audit_node *nodes, size_t nnodes, unsigned node, struct audit_node *out)
{
	bool found = false;

	*out = (struct audit_node){ .node = node };
	for (size_t i = 0; i < nnodes; i++) {
		if (nodes[i].node % ADDR_MAX_NODES != node)
			continue;
		out->registered_bytes += nodes[i].registered_bytes;
		out->free_bytes += nodes[i].free_bytes;
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
			  node->courtesy_bytes - node->quarantine_bytes - node->zombie_bytes);
}

size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES])
{
	size_t n = 0;

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		const struct ledger_account *account = ledger_account(in->ledger, node);

		if (given(in->nodes, in->nnodes, node, &out[n]) || !is_empty(account))
			fill(&out[n++], account);
	}
	return n;
}

/* Report the sums counted from the records, and compare them with the ledger's own. */
static void compare_nodes(struct audit *a, struct audit_result *r)
{
	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		struct audit_node *out = &r->nodes[r->nnodes];

		if (!given(a->nodes, a->nnodes, node, out) && is_empty(&a->counted[node]) &&
			is_empty(&a->kept[node]))
			continue;
		fill(out, &a->counted[node]);
		for (unsigned class = 0; class < LEDGER_CLASSES; class ++)
			out->kept_bytes[class] = a->kept[node].classes[class].block_bytes;
		out->miscounted =
			memcmp(&a->kept[node], &a->counted[node], sizeof(a->kept[node])) != 0;
		r->nnodes++;
	}
}

/* ---- the whole audit ---- */

static void copy_holders(struct audit *a, const struct sessions *sessions)
{
	const struct session_record *r;
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(sessions, &cursor, &slot)) != NULL) {
		a->holders[slot] = state_of(r);
		a->result->sessions_total++;
		/* Undecided: the session's allocations are limbo. */
		a->result->sessions_not_judged +=
			r->state == SESSION_DETACHED ||
			(r->state == SESSION_CONNECTED && r->expired_ns != 0);
	}
}

static void copy_sums(struct audit *a, const struct audit_input *in)
{
	for (unsigned node = 0; node < ADDR_MAX_NODES; node++)
		a->kept[node] = *ledger_account(in->ledger, node);
	while (a->nnodes < in->nnodes && a->nnodes < ADDR_MAX_NODES) {
		a->nodes[a->nnodes] = in->nodes[a->nnodes];
		a->nnodes++;
	}
}

static void copy_sites(struct audit *a, const struct sites *sites)
{
	for (uint32_t site = 1; site < a->nsites; site++) {
		const struct site_record *r = sites_get(sites, site);

		if (r)
			a->site_hashes[site] = r->hash;
	}
}

int audit_begin(const struct audit_input *in, const struct audit_scan *previous,
	enum audit_depth depth, struct audit **out)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->depth = depth;
	a->now_ns = in->now_ns;
	a->previous = previous;
	a->nholders = sessions_high(in->sessions);
	a->nsites = sites_high(in->sites);
	a->holders = calloc((size_t)a->nholders + 1, sizeof(*a->holders));
	a->site_hashes = calloc((size_t)a->nsites + 1, sizeof(*a->site_hashes));
	a->scan = make_scan();
	a->result = calloc(1, sizeof(*a->result));
	if (!a->holders || !a->site_hashes || !a->scan || !a->result ||
		audit_cells_create(&a->cells)) {
		audit_abandon(a);
		return -ENOMEM;
	}
	a->result->now_ns = in->now_ns;
	copy_holders(a, in->sessions);
	copy_sums(a, in);
	copy_sites(a, in->sites);
	*out = a;
	return 0;
}

static void flush(struct audit *a)
{
	a->failed |= audit_cells_add(a->cells, a->members, a->nmembers) != 0;
	a->nmembers = 0;
}

/* a is LIVE or ZOMBIE: all other blocks have been given back. */
static void add_member(struct audit *audit, const struct allocation *a,
	const struct audit_holder_state *holder, uint32_t slot, enum audit_kind kind)
{
	struct audit_result *r = audit->result;
	struct audit_member m = { .allocation = a,
		.holder = holder,
		.site = a->site < audit->nsites && audit->site_hashes[a->site] ? a->site : 0,
		.kind = kind,
		.orphan = is_orphan(holder, a),
		.now_ns = audit->now_ns };

	r->allocations_total++;
	r->orphans += m.orphan;
	r->allocations_without_site += m.site == 0;
	if (kind == AUDIT_DEFINITE &&
		!scan_agrees(audit->previous, slot, a->serial, &audit->walk)) {
		m.kind = AUDIT_LIMBO;
		m.unconfirmed = true;
	}
	r->totals[m.kind].blocks++;
	r->totals[m.kind].bytes += a->bytes;
	audit->members[audit->nmembers++] = m;
	if (audit->nmembers == MEMBERS)
		flush(audit);
}

static void add_one(struct audit *audit, uint32_t slot, const struct allocation *a)
{
	static const struct audit_holder_state none;
	const struct audit_holder_state *holder =
		a->session < audit->nholders ? &audit->holders[a->session] : &none;
	const enum audit_kind kind = classify(holder, a);
	struct ledger_share *share;

	if (kind == AUDIT_DEFINITE)
		audit->failed |= push(audit->scan, slot, a->serial) != 0;
	if (audit->depth == AUDIT_SCAN)
		return;
	share = &audit->counted[allocation_node(a)].classes[class_of(holder, a)];
	share->blocks++;
	share->bytes += a->bytes;
	share->block_bytes += allocation_block_bytes(a);
	if (a->state == ALLOCATION_LIVE || a->state == ALLOCATION_ZOMBIE)
		add_member(audit, a, holder, slot, kind);
}

void audit_add(struct audit *a, const uint32_t *slots, const struct allocation *records, size_t n)
{
	for (size_t i = 0; i < n && !a->failed; i++)
		add_one(a, slots[i], &records[i]);
	flush(a);
}

static int finish(struct audit *a)
{
	if (a->failed)
		return -ENOMEM;
	if (a->scan->unordered)
		qsort(a->scan->suspects, a->scan->count, sizeof(*a->scan->suspects), by_slot);
	if (a->depth == AUDIT_SCAN)
		return 0;
	compare_nodes(a, a->result);
	return audit_cells_merge(a->cells, a->site_hashes, a->result);
}

int audit_end(struct audit *a, struct audit_scan **out_scan, struct audit_result **out_result)
{
	int err = finish(a);

	*out_scan = NULL;
	*out_result = NULL;
	if (!err) {
		*out_scan = a->scan;
		a->scan = NULL;
	}
	if (!err && a->depth == AUDIT_FULL) {
		*out_result = a->result;
		a->result = NULL;
	}
	audit_abandon(a);
	return err;
}

void audit_abandon(struct audit *a)
{
	if (!a)
		return;
	audit_cells_destroy(a->cells);
	audit_scan_destroy(a->scan);
	audit_result_release(a->result);
	free(a->holders);
	free(a->site_hashes);
	free(a);
}

struct audit_result *audit_result_hold(struct audit_result *r)
{
	r->more_holders++;
	return r;
}

void audit_result_release(struct audit_result *r)
{
	if (!r || r->more_holders-- > 0)
		return;
	audit_findings_destroy(r->findings, r->nfindings);
	free(r);
}
