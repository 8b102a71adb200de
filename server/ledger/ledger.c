/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ledger_open() builds three indexes in memory: taken slots, slots by address, and per session a list of slots,
 * youngest first; and the sums for reports (server/ledger/accounts.h). Blocks are aligned to the power of two that holds
 * them, so a block that contains an address can start at one address per order: a lookup tries each order in use.
 */
#include "server/ledger/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "server/ledger/accounts.h"
#include "server/ledger/ledger_recover.h"
#include "server/ledger/numbering.h"
#include "server/ledger/quotas.h"
#include "server/ledger/slotmap.h"
#include "server/ledger/snapshot.h"
#include "server/ledger/table.h"

#define ORDERS 64

struct links {
	uint32_t older, younger; /* in the session's list; slot + 1, 0: none */
};

struct holdings {
	uint32_t youngest; /* slot + 1 */
	uint32_t count;
	uint64_t block_bytes;
};

struct ledger {
	struct table table;
	struct slots slots;
	struct slotmap by_addr;
	struct links *links;
	struct holdings *sessions;
	struct accounts accounts;
	struct quotas quotas;
	uint32_t *sites; /* number of records, by site */
	uint32_t per_order[ORDERS];
	struct numbering serials;
	struct ledger_seal *seal; /* in another file; or NULL */
	uint64_t sum;             /* over the records that are not FREE: what the seal should be */
	struct snapshot snapshot; /* open if table.snapshot is set */
	uint32_t rejected;
	uint32_t
		superseded; /* the record of an allocation that was being handed over: its slot + 1; 0: none */
};

static const struct allocation *record(const struct ledger *l, uint32_t slot)
{
	return table_record(&l->table, slot);
}

static void store_state(struct ledger *l, uint32_t slot, enum allocation_state state)
{
	struct allocation *a = table_edit(&l->table, slot);

	__atomic_store_n(&a->state, state, __ATOMIC_RELEASE);
}

/* What a record adds to the sum; never 0. */
static uint64_t term(const struct allocation *a)
{
	return table_sum((const uint64_t[]){ a->addr, a->serial, a->check }, 3 * sizeof(uint64_t)) |
	       1;
}

/* Two steps around each change, so that a kill between any two stores leaves a seal that matches. */
static void announce(struct ledger *l, const struct allocation *a)
{
	if (l->seal)
		__atomic_store_n(&l->seal->changing, term(a), __ATOMIC_SEQ_CST);
}

/* One record becomes another: a seal that is off by this matches before the store and after it. */
static void announce_change(struct ledger *l, uint64_t difference)
{
	if (l->seal)
		__atomic_store_n(&l->seal->changing, difference, __ATOMIC_SEQ_CST);
}

static void settle(struct ledger *l)
{
	if (!l->seal)
		return;
	__atomic_store_n(&l->seal->sum, l->sum, __ATOMIC_SEQ_CST);
	__atomic_store_n(&l->seal->changing, 0, __ATOMIC_SEQ_CST);
}

bool ledger_matches(const struct ledger *l, const struct ledger_seal *seal)
{
	return l->sum == seal->sum ||
	       (seal->changing && (l->sum == seal->sum + seal->changing ||
					  l->sum == seal->sum - seal->changing));
}

void ledger_keep_seal(struct ledger *l, struct ledger_seal *seal)
{
	l->seal = seal;
	settle(l);
}

static uint32_t *older_link(struct ledger *l, uint32_t younger, uint32_t session)
{
	return younger ? &l->links[younger - 1].older : &l->sessions[session].youngest;
}

static unsigned order_of(const struct allocation *a)
{
	return (unsigned)__builtin_ctzll(block_align(a->bytes));
}

static void count(struct ledger *l, const struct allocation *a)
{
	accounts_add(&l->accounts, a);
	quotas_add(&l->quotas, a);
}

static void uncount(struct ledger *l, const struct allocation *a)
{
	accounts_remove(&l->accounts, a);
	quotas_remove(&l->quotas, a);
}

/* Add the record of a taken slot to the indexes, as the youngest of its session. */
static void index_add(struct ledger *l, uint32_t slot)
{
	const struct allocation *a = record(l, slot);
	struct holdings *h = &l->sessions[a->session];

	slotmap_put(&l->by_addr, slot, slotmap_hash(a->addr));
	l->links[slot] = (struct links){ .older = h->youngest };
	if (h->youngest)
		l->links[h->youngest - 1].younger = slot + 1;
	h->youngest = slot + 1;
	h->count++;
	h->block_bytes += allocation_block_bytes(a);
	l->per_order[order_of(a)]++;
	count(l, a);
	l->sites[a->site]++;
	l->sum += term(a);
}

static void index_remove(struct ledger *l, uint32_t slot)
{
	const struct allocation *a = record(l, slot);
	struct holdings *h = &l->sessions[a->session];
	struct links links = l->links[slot];

	slotmap_remove(&l->by_addr, slot);
	*older_link(l, links.younger, a->session) = links.older;
	if (links.older)
		l->links[links.older - 1].younger = links.younger;
	h->count--;
	h->block_bytes -= allocation_block_bytes(a);
	l->per_order[order_of(a)]--;
	uncount(l, a);
	l->sites[a->site]--;
	l->sum -= term(a);
}

static int recover(struct ledger *l)
{
	struct ledger_found found;
	int err = ledger_recover(&l->table, &l->slots, &found);

	if (err)
		return err;
	slotmap_expect(&l->by_addr, found.count);
	for (uint32_t i = 0; i < found.count && !err; i++) {
		err = accounts_prepare(&l->accounts, allocation_node(record(l, found.slots[i])));
		if (!err) {
			slots_occupy(&l->slots, found.slots[i]);
			index_add(l, found.slots[i]);
		}
	}
	l->rejected = found.rejected;
	l->superseded = found.superseded;
	l->serials = found.serials;
	free(found.slots);
	return err;
}

/* So that a seal of zeros, as in a file that never had one, does not match an empty ledger. */
#define SUM_OF_NOTHING 0x5ea1

int ledger_open(struct ledger **out, int dir, const char *name, uint32_t max)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 'l', 'e', 'd', 'g' },
		.version = LEDGER_FORMAT,
		.oldest = LEDGER_OLDEST,
		.adopt_later = true,
		.record_bytes = sizeof(struct allocation),
		.count = max };
	struct ledger *l;
	int err;

	if (max == 0 || max >= SLOT_NONE)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->sum = SUM_OF_NOTHING;
	l->links = calloc(max, sizeof(*l->links));
	l->sessions = calloc(SESSIONS_MAX, sizeof(*l->sessions));
	l->sites = calloc(SITES_MAX, sizeof(*l->sites));
	err = l->links && l->sessions && l->sites ? 0 : -ENOMEM;
	if (!err)
		err = accounts_create(&l->accounts);
	if (!err)
		err = quotas_create(&l->quotas);
	if (!err)
		err = slots_create(&l->slots, max);
	if (!err)
		err = slotmap_create(&l->by_addr, max);
	if (!err)
		err = table_open(&l->table, dir, name, &layout, NULL);
	if (!err)
		err = recover(l);
	if (err) {
		ledger_close(l);
		return err;
	}
	*out = l;
	return 0;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	snapshot_end(&l->snapshot);
	table_close(&l->table);
	slotmap_destroy(&l->by_addr);
	slots_destroy(&l->slots);
	quotas_destroy(&l->quotas);
	accounts_destroy(&l->accounts);
	free(l->sites);
	free(l->sessions);
	free(l->links);
	free(l);
}

uint64_t ledger_inode(const struct ledger *l)
{
	struct stat st;

	return fstat(l->table.fd, &st) == 0 ? st.st_ino : 0;
}

uint32_t ledger_rejected(const struct ledger *l)
{
	return l->rejected;
}

const struct allocation *ledger_next_rejected(const struct ledger *l, uint32_t *cursor)
{
	uint32_t begin, end = *cursor;

	while (l->rejected && table_next_extent(&l->table, end, &begin, &end)) {
		begin = begin > *cursor ? begin : *cursor;
		for (uint32_t slot = begin; slot < end; slot++) {
			if (record(l, slot)->state == ALLOCATION_FREE || slots_has(&l->slots, slot))
				continue;
			*cursor = slot + 1;
			return record(l, slot);
		}
	}
	return NULL;
}

static void drop(struct ledger *l, uint32_t slot)
{
	slots_occupy(&l->slots, slot);
	store_state(l, slot, ALLOCATION_FREE);
	slots_give(&l->slots, slot);
}

void ledger_drop_rejected(struct ledger *l)
{
	const struct allocation *a;
	uint32_t cursor = 0;

	if (l->superseded)
		drop(l, l->superseded - 1);
	l->superseded = 0;
	while ((a = ledger_next_rejected(l, &cursor)) != NULL)
		drop(l, ledger_slot(l, a));
	l->rejected = 0;
}

static void publish(struct allocation *a, const struct allocation *draft)
{
	/* No store below may move before the store that made this record FREE. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* One store: a torn serial number could be mistaken for a later one. */
	__atomic_store_n(&a->serial, draft->serial, __ATOMIC_RELAXED);
	a->session = draft->session;
	a->session_serial = draft->session_serial;
	a->addr = draft->addr;
	a->bytes = draft->bytes;
	a->birth_ns = draft->birth_ns;
	a->site = draft->site;
	a->seq = draft->seq;
	a->order_or_node = draft->order_or_node;
	a->size_class = draft->size_class;
	a->unshared = draft->unshared;
	a->check = draft->check;
	__atomic_store_n(&a->state, ALLOCATION_LIVE, __ATOMIC_RELEASE);
}

int ledger_add(struct ledger *l, const struct allocation *draft, const struct allocation **out)
{
	struct allocation checked = *draft;
	uint32_t slot;
	int err;

	checked.state = ALLOCATION_LIVE;
	checked.serial = numbering_next(&l->serials);
	checked.unshared = 0;
	checked.check = ledger_record_check(&checked);
	if (checked.serial == 0)
		return -EDQUOT;
	if (!ledger_record_is_possible(&checked))
		return -EINVAL;
	if (ledger_find_containing(l, draft->addr))
		return -EEXIST;
	err = accounts_prepare(&l->accounts, allocation_node(draft));
	if (err)
		return err;
	if (slots_take(&l->slots, &slot))
		return -EDQUOT;
	err = table_back(&l->table, slot);
	if (err) {
		slots_give(&l->slots, slot);
		return err;
	}
	table_adopt(&l->table);
	announce(l, &checked);
	publish(table_edit(&l->table, slot), &checked);
	(void)numbering_give(&l->serials);
	index_add(l, slot);
	settle(l);
	*out = record(l, slot);
	return 0;
}

static bool may_move(uint32_t from, enum allocation_state to)
{
	switch (from) {
	case ALLOCATION_LIVE:
		return to == ALLOCATION_REVOKING;
	case ALLOCATION_REVOKING:
		return to == ALLOCATION_QUARANTINE || to == ALLOCATION_ZOMBIE;
	case ALLOCATION_QUARANTINE:
		return to == ALLOCATION_FREE;
	case ALLOCATION_ZOMBIE:
		return to == ALLOCATION_QUARANTINE;
	default:
		return false;
	}
}

int ledger_set_state(struct ledger *l, const struct allocation *a, enum allocation_state state)
{
	uint32_t slot = a ? ledger_slot(l, a) : SLOT_NONE;

	if (!a || ledger_at(l, slot) != a || !may_move(a->state, state))
		return -EINVAL;
	if (state == ALLOCATION_FREE) {
		announce(l, a);
		index_remove(l, slot);
		store_state(l, slot, state);
		settle(l);
		slots_give(&l->slots, slot);
		return 0;
	}
	uncount(l, a);
	store_state(l, slot, state);
	count(l, a);
	return 0;
}

/* The last word of a record, which one store changes: unshared, check, and what is beside them. */
typedef uint64_t __attribute__((may_alias)) last_word;

static last_word *last_word_of(struct allocation *a)
{
	_Static_assert(sizeof(*a) - offsetof(struct allocation, unshared) <= sizeof(last_word),
		"in the last word");
	return (last_word *)(a + 1) - 1;
}

int ledger_unshare(struct ledger *l, const struct allocation *a)
{
	struct allocation changed = *a;

	if (a->unshared == UNSHARED_MAX)
		return -EDQUOT;
	changed.unshared++;
	changed.check = ledger_record_check(&changed);
	announce_change(l, term(&changed) - term(a));
	l->sum += term(&changed) - term(a);
	__atomic_store_n(last_word_of(table_edit(&l->table, ledger_slot(l, a))),
		*last_word_of(&changed), __ATOMIC_RELEASE);
	settle(l);
	return 0;
}

int ledger_hand_over(struct ledger *l, const struct allocation *a, uint32_t session,
	uint64_t session_serial, uint32_t seq, const struct allocation **out)
{
	const uint32_t old = ledger_slot(l, a);
	struct allocation moved = *a;
	uint32_t slot;
	int err;

	if (a->state != ALLOCATION_LIVE || session >= SESSIONS_MAX || !session_serial)
		return -EINVAL;
	moved.serial = numbering_next(&l->serials);
	if (!moved.serial || slots_take(&l->slots, &slot))
		return -EDQUOT;
	err = table_back(&l->table, slot);
	if (err) {
		slots_give(&l->slots, slot);
		return err;
	}
	moved.session = session;
	moved.session_serial = session_serial;
	moved.seq = seq;
	allocation_set_node(&moved, allocation_node(a));
	moved.unshared = 0;
	moved.check = ledger_record_check(&moved);
	announce_change(l, term(&moved) - term(a));
	publish(table_edit(&l->table, slot), &moved);
	(void)numbering_give(&l->serials);
	index_remove(l, old);
	index_add(l, slot);
	store_state(l, old, ALLOCATION_FREE);
	settle(l);
	slots_give(&l->slots, old);
	*out = record(l, slot);
	return 0;
}

void ledger_connect(struct ledger *l, uint32_t session, uint64_t serial)
{
	const bool recount = accounts_must_recount(&l->accounts, session, serial);
	const struct allocation *a = NULL;

	while (recount && (a = ledger_next_of_session(l, session, a)) != NULL)
		accounts_remove(&l->accounts, a);
	accounts_connect(&l->accounts, session, serial);
	while (recount && (a = ledger_next_of_session(l, session, a)) != NULL)
		accounts_add(&l->accounts, a);
}

void ledger_join(struct ledger *l, uint32_t session, uint64_t serial, const struct identity *who)
{
	const struct allocation *a = NULL;

	quotas_join(&l->quotas, session, serial, who);
	while ((a = ledger_next_of_session(l, session, a)) != NULL)
		quotas_add(&l->quotas, a);
}

void ledger_leave(struct ledger *l, uint32_t session)
{
	const struct allocation *a = NULL;

	while ((a = ledger_next_of_session(l, session, a)) != NULL)
		quotas_remove(&l->quotas, a);
	quotas_leave(&l->quotas, session);
}

const struct quotas *ledger_quotas(const struct ledger *l)
{
	return &l->quotas;
}

void ledger_set_quotas(struct ledger *l, const struct quota_rules *rules)
{
	l->quotas.rules = *rules;
}

const struct allocation *ledger_find(const struct ledger *l, uint64_t addr)
{
	uint32_t slot = slotmap_first(&l->by_addr, slotmap_hash(addr));

	while (slot != SLOT_NONE && record(l, slot)->addr != addr)
		slot = slotmap_next(&l->by_addr, slot);
	return slot == SLOT_NONE ? NULL : record(l, slot);
}

const struct allocation *ledger_find_containing(const struct ledger *l, uint64_t addr)
{
	for (unsigned order = 0; order < ORDERS; order++) {
		const struct allocation *a;

		if (l->per_order[order] == 0)
			continue;
		a = ledger_find(l, addr & ~((1ULL << order) - 1));
		if (a && addr - a->addr < allocation_block_bytes(a))
			return a;
	}
	return NULL;
}

const struct allocation *ledger_next(const struct ledger *l, uint32_t *cursor)
{
	uint32_t slot = slots_next(&l->slots, *cursor);

	if (slot == SLOT_NONE)
		return NULL;
	*cursor = slot + 1;
	return record(l, slot);
}

int ledger_begin_snapshot(struct ledger *l)
{
	int err = l->table.snapshot ? -EBUSY : 0;

	if (!err)
		err = snapshot_begin(&l->snapshot, &l->slots.taken, sizeof(struct allocation));
	if (!err)
		l->table.snapshot = &l->snapshot;
	return err;
}

size_t ledger_next_of_snapshot(
	struct ledger *l, uint32_t *slots, struct allocation *records, size_t max)
{
	return snapshot_next(&l->snapshot, record(l, 0), slots, records, max);
}

int ledger_end_snapshot(struct ledger *l)
{
	const bool failed = l->snapshot.failed;

	l->table.snapshot = NULL;
	snapshot_end(&l->snapshot);
	return failed ? -ENOMEM : 0;
}

const struct allocation *ledger_next_of_session(
	const struct ledger *l, uint32_t session, const struct allocation *prev)
{
	uint32_t at;

	if (session >= SESSIONS_MAX)
		return NULL;
	at = prev ? l->links[ledger_slot(l, prev)].older : l->sessions[session].youngest;
	return at ? record(l, at - 1) : NULL;
}

uint32_t ledger_session_count(const struct ledger *l, uint32_t session)
{
	return session < SESSIONS_MAX ? l->sessions[session].count : 0;
}

uint64_t ledger_session_bytes(const struct ledger *l, uint32_t session)
{
	return session < SESSIONS_MAX ? l->sessions[session].block_bytes : 0;
}

struct ledger_share ledger_session_share(const struct ledger *l, uint32_t session, uint64_t serial)
{
	const struct allocation *a = NULL;
	struct ledger_share share = { .blocks = 0 };

	if (session >= SESSIONS_MAX)
		return share;
	if (l->accounts.holders[session].serial == serial)
		return l->accounts.holders[session].own;
	if (l->accounts.holders[session].strays == 0)
		return share;
	while ((a = ledger_next_of_session(l, session, a)) != NULL)
		if (a->session_serial == serial)
			ledger_share_add(&share, a);
	return share;
}

struct ledger_share ledger_session_live(const struct ledger *l, uint32_t session, unsigned node)
{
	return accounts_live(&l->accounts, session, node);
}

const struct ledger_account *ledger_account(const struct ledger *l, unsigned node)
{
	return &l->accounts.nodes[node];
}

struct ledger_share ledger_node_share(const struct ledger *l, unsigned node)
{
	struct ledger_share share = { .blocks = 0 };

	for (unsigned i = 0; i < LEDGER_CLASSES; i++) {
		share.blocks += l->accounts.nodes[node].classes[i].blocks;
		share.bytes += l->accounts.nodes[node].classes[i].bytes;
		share.block_bytes += l->accounts.nodes[node].classes[i].block_bytes;
		share.slabs += l->accounts.nodes[node].classes[i].slabs;
	}
	return share;
}

uint32_t ledger_site_count(const struct ledger *l, uint32_t site)
{
	return site < SITES_MAX ? l->sites[site] : 0;
}

uint32_t ledger_count(const struct ledger *l)
{
	return l->slots.count;
}

uint64_t ledger_latest_ns(const struct ledger *l, uint64_t limit_ns)
{
	const struct allocation *a;
	uint64_t latest_ns = 0;
	uint32_t cursor = 0;

	while ((a = ledger_next(l, &cursor)) != NULL)
		if (a->birth_ns > latest_ns && a->birth_ns <= limit_ns)
			latest_ns = a->birth_ns;
	return latest_ns;
}

uint32_t ledger_slot(const struct ledger *l, const struct allocation *a)
{
	return (uint32_t)(a - record(l, 0));
}

uint32_t ledger_max(const struct ledger *l)
{
	return l->table.count;
}

const struct allocation *ledger_at(const struct ledger *l, uint32_t slot)
{
	return slots_has(&l->slots, slot) ? record(l, slot) : NULL;
}
