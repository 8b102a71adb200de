/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/size_class.h"
#include "server/audit/audit_merge.h"
#include "server/ledger/object.h"

#define MEMBERS 32

/* What is in slabs and not held: part of their class in counted. */
struct slab_bytes {
	uint64_t cached, metadata;
};

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
	struct slab_bytes slabs[ADDR_MAX_NODES][LEDGER_CLASSES];
	struct audit_cells *cells;
	struct audit_member
		members[MEMBERS]; /* batch for the cells; empty between audit_add() calls */
	size_t nmembers;
	struct audit_scan *scan;
	struct audit_result *result;
	bool failed; /* no memory */
};

struct audit_holder_state audit_holder_of(const struct session_record *r)
{
	if (!r)
		return (struct audit_holder_state){ .serial = 0 };
	return (struct audit_holder_state){ .serial = r->serial,
		.since_ns = r->state_since_ns,
		.opened_ns = r->opened_ns,
		.expired_ns = r->expired_ns,
		.journaled_ns = session_journaled_ns(r),
		.state = (uint8_t)r->state,
		.evidence = (uint8_t)r->evidence,
		.exact = r->marks & SESSION_EXACT,
		.no_sites = r->marks & SESSION_NO_SITES };
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
		return h->expired_ns ? AUDIT_LIMBO : AUDIT_REACHABLE;
	case SESSION_CLOSED:
		return AUDIT_DEFINITE;
	case SESSION_DEAD:
		return h->evidence != HOLDER_NO_EVIDENCE ? AUDIT_DEFINITE : AUDIT_LIMBO;
	default:
		return AUDIT_LIMBO;
	}
}

enum audit_kind audit_judge(
	const struct audit_input *in, const struct audit_scan *previous, const struct allocation *a)
{
	const struct audit_holder_state holder =
		audit_holder_of(sessions_get(in->sessions, a->session));
	enum audit_kind kind = classify(&holder, a);
	size_t walk = SIZE_MAX;

	if (kind == AUDIT_DEFINITE &&
		!audit_scan_agrees(previous, ledger_slot(in->ledger, a), a->serial, &walk))
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

static uint64_t held_bytes(const struct ledger_account *account,
	const struct slab_bytes slabs[LEDGER_CLASSES], enum ledger_class class)
{
	return account->classes[class].block_bytes - slabs[class].cached - slabs[class].metadata;
}

static void fill(struct audit_node *node, const struct ledger_account *account,
	const struct slab_bytes slabs[LEDGER_CLASSES])
{
	node->live_bytes = held_bytes(account, slabs, CLASS_LIVE);
	node->courtesy_bytes = held_bytes(account, slabs, CLASS_COURTESY);
	node->quarantine_bytes = held_bytes(account, slabs, CLASS_QUARANTINE);
	node->zombie_bytes = held_bytes(account, slabs, CLASS_ZOMBIE);
	for (unsigned class = 0; class < LEDGER_CLASSES; class ++) {
		node->cached_bytes += slabs[class].cached;
		node->metadata_bytes += slabs[class].metadata;
	}
	node->unaccounted_bytes =
		(int64_t)(node->registered_bytes - node->free_bytes - node->live_bytes -
			  node->courtesy_bytes - node->quarantine_bytes - node->zombie_bytes -
			  node->cached_bytes - node->metadata_bytes);
}

size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES])
{
	static const struct slab_bytes whole[LEDGER_CLASSES];
	size_t n = 0;

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		const struct ledger_account *account = ledger_account(in->ledger, node);

		if (given(in->nodes, in->nnodes, node, &out[n]) || !is_empty(account))
			fill(&out[n++], account, whole);
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
		fill(out, &a->counted[node], a->slabs[node]);
		for (unsigned class = 0; class < LEDGER_CLASSES; class ++) {
			out->counted_bytes[class] = a->counted[node].classes[class].block_bytes;
			out->kept_bytes[class] = a->kept[node].classes[class].block_bytes;
		}
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
		a->holders[slot] = audit_holder_of(r);
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
	a->scan = audit_scan_create();
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

static void add_member(struct audit *audit, const struct audit_member *m)
{
	struct audit_result *r = audit->result;

	r->allocations_total++;
	r->allocations_without_site += m->site == 0;
	r->totals[m->kind].blocks++;
	r->totals[m->kind].objects += m->slab != 0;
	r->totals[m->kind].bytes += m->bytes;
	audit->members[audit->nmembers++] = *m;
	if (audit->nmembers == MEMBERS)
		flush(audit);
}

static uint32_t known_site(const struct audit *audit, uint32_t site)
{
	return site < audit->nsites && audit->site_hashes[site] ? site : 0;
}

/* What all allocations of a record have in common. */
static struct audit_member member_of(struct audit *audit, const struct allocation *a,
	const struct audit_holder_state *holder, uint32_t slot, enum audit_kind kind)
{
	struct audit_member m = { .holder = holder,
		.kind = kind,
		.orphan = is_orphan(holder, a),
		.node = (uint8_t)allocation_node(a),
		.session = a->session,
		.session_serial = a->session_serial,
		.now_ns = audit->now_ns };

	if (kind == AUDIT_DEFINITE &&
		!audit_scan_agrees(audit->previous, slot, a->serial, &audit->walk)) {
		m.kind = AUDIT_LIMBO;
		m.unconfirmed = true;
	}
	return m;
}

static void add_block(struct audit *audit, const struct allocation *a, struct audit_member *m)
{
	m->site = known_site(audit, a->site);
	m->bytes = a->bytes;
	m->block_bytes = allocation_block_bytes(a);
	m->birth_ns = a->birth_ns;
	add_member(audit, m);
}

/* Whatever the records say, each slot is held or cached, and all else is metadata. */
static void add_objects(struct audit *audit, const struct allocation *a, struct audit_member *m,
	enum ledger_class class, const uint64_t *words)
{
	const uint32_t n = slab_slots(a->size_class, a->bytes);
	const struct object_slab slab = { .slot_bytes = size_class_bytes(a->size_class),
		.opened_ns = m->orphan ? 0 : m->holder->opened_ns,
		.born_ns = a->birth_ns,
		.now_ns = audit->now_ns };
	struct slab_bytes *sum = &audit->slabs[m->node][class];
	struct audit_slabs *of_class = &audit->result->classes[a->size_class];
	const uint64_t objects_before = of_class->objects;

	of_class->slabs++;
	of_class->slab_bytes += allocation_block_bytes(a);
	of_class->slots += n;
	sum->metadata += allocation_block_bytes(a) - slab_records_offset(a->size_class, n);
	audit->result->slabs_total++;
	audit->result->slabs_unread += !words;
	m->slab = a->addr;
	m->block_bytes = slab.slot_bytes;
	for (uint32_t i = 0; i < n; i++) {
		const struct object o =
			words ? object_judge(words[i], &slab) : (struct object){ .held = false };

		if (!o.held) {
			sum->cached += slab.slot_bytes;
			continue;
		}
		m->site = m->orphan || m->holder->no_sites ? 0 : known_site(audit, o.site);
		m->corrupt = o.corrupt;
		m->bytes = o.bytes;
		m->birth_ns = o.birth_ns;
		audit->result->objects_total++;
		audit->result->corrupt_records += o.corrupt;
		of_class->objects++;
		of_class->bytes += o.bytes;
		add_member(audit, m);
	}
	of_class->active += of_class->objects > objects_before;
}

static void add_one(
	struct audit *audit, uint32_t slot, const struct allocation *a, const uint64_t *words)
{
	static const struct audit_holder_state none;
	const struct audit_holder_state *holder =
		a->session < audit->nholders ? &audit->holders[a->session] : &none;
	const enum audit_kind kind = classify(holder, a);
	enum ledger_class class;
	struct ledger_share *share;
	struct audit_member m;

	if (kind == AUDIT_DEFINITE)
		audit->failed |= audit_scan_add(audit->scan, slot, a->serial) != 0;
	if (audit->depth == AUDIT_SCAN)
		return;
	class = class_of(holder, a);
	share = &audit->counted[allocation_node(a)].classes[class];
	share->blocks++;
	share->bytes += a->bytes;
	share->block_bytes += allocation_block_bytes(a);
	share->slabs += a->size_class != 0;
	/* All others have been given back. */
	if (a->state != ALLOCATION_LIVE && a->state != ALLOCATION_ZOMBIE)
		return;
	m = member_of(audit, a, holder, slot, kind);
	audit->result->orphans += m.orphan;
	if (a->size_class && a->state == ALLOCATION_LIVE)
		add_objects(audit, a, &m, class, words);
	else
		add_block(audit, a, &m);
}

void audit_add(struct audit *a, const uint32_t *slots, const struct allocation *records, size_t n)
{
	for (size_t i = 0; i < n && !a->failed; i++)
		add_one(a, slots[i], &records[i], NULL);
	flush(a);
}

void audit_add_slab(
	struct audit *a, uint32_t slot, const struct allocation *record, const uint64_t *words)
{
	if (!a->failed)
		add_one(a, slot, record, words);
	flush(a);
}

static int finish(struct audit *a)
{
	if (a->failed)
		return -ENOMEM;
	audit_scan_sort(a->scan);
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
