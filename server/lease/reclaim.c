/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/reclaim.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size_class.h"
#include "common/units.h"
#include "server/base/wait.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/lease/session.h"
#include "server/lease/slab.h"
#include "server/ledger/history.h"
#include "server/ledger/object.h"
#include "server/memory/wish.h"

#ifndef BLOCKS_PER_SLICE /* the simulation defines smaller ones */
#define BLOCKS_PER_SLICE 256
#define TAKEN_AT_A_TIME 256 /* sessions; each logs a line */
#endif
#define SLOTS_PER_BLOCK 32 /* so many objects are looked at in the time that a block takes */
#define CHECK_EVERY_NS (100 * NSEC_PER_MSEC)
#define TAKE_MORE_NS NSEC_PER_SEC
#define PATIENCE_NS (2 * NSEC_PER_SEC) /* most clients time out after 3 s */
#define WAIT_MAX_NS (30 * NSEC_PER_SEC)

/* ---- whose memory ---- */

/* The first LIVE allocation from a on. Only this file ends its LIVE state. All others are being freed, or zombies. */
static const struct allocation *next_live(
	const struct reclaim *r, const struct session *session, const struct allocation *a)
{
	while (a && a->state != ALLOCATION_LIVE)
		a = ledger_next_of_session(r->leases->pool->ledger, session->grantee.slot, a);
	return a;
}

/* Nodes are given as masks, a bit each (pool_rank_mask()). */
static bool is_wanted(uint64_t nodes, unsigned here)
{
	return nodes & 1ULL << here;
}

static uint64_t live_bytes(const struct reclaim *r, const struct session *session, unsigned node)
{
	return ledger_session_live(r->leases->pool->ledger, session->grantee.slot, node)
		.block_bytes;
}

static bool holds_wanted(const struct reclaim *r, const struct session *session, uint64_t nodes)
{
	const struct pool *pool = r->leases->pool;

	for (unsigned i = 0; i < pool->nnodes; i++)
		if (is_wanted(nodes, pool->nodes[i].node) &&
			live_bytes(r, session, pool->nodes[i].node))
			return true;
	return false;
}

/* What can be taken, and what comes back. */
struct prospects {
	uint64_t takeable_bytes, coming_bytes;
};

static struct prospects prospects_of(const struct reclaim *r, uint64_t nodes)
{
	const struct pool *pool = r->leases->pool;
	struct prospects p = { .coming_bytes = 0 };

	for (unsigned i = 0; i < pool->nnodes; i++) {
		const unsigned here = pool->nodes[i].node;

		if (!is_wanted(nodes, here))
			continue;
		p.takeable_bytes += r->leases->takeable_bytes[here];
		p.coming_bytes +=
			r->taking_bytes[here] +
			ledger_account(pool->ledger, here)->classes[CLASS_QUARANTINE].block_bytes;
	}
	return p;
}

static void take(struct reclaim *r, struct session *session, const char *errinfo)
{
	const struct session_record *record = session_record(session);
	const struct ledger *ledger = r->leases->pool->ledger;
	const uint32_t slot = session->grantee.slot;
	char bytes[UNITS_TEXT_SIZE];

	session->taking_next = next_live(r, session, ledger_next_of_session(ledger, slot, NULL));
	log_warn("%s: taking back %s in %u blocks of %s[%u] on %s (%s)", errinfo,
		units_format_bytes(ledger_session_bytes(ledger, slot), bytes, sizeof(bytes)),
		ledger_session_count(ledger, slot), record->identity.exe, record->identity.pid,
		record->identity.host, session_state_name(record->state));
	session_begin_reclaim(session);
	/* Only a session with a LIVE block enters the list: without one it could be forgotten while listed. */
	if (!session->taking_next) {
		session_forget_if_done(session);
		return;
	}
	for (unsigned i = 0; i < r->leases->pool->nnodes; i++) {
		const unsigned node = r->leases->pool->nodes[i].node;

		r->taking_bytes[node] += live_bytes(r, session, node);
	}
	DL_APPEND(r->taking, session);
	work_wake(r->work);
}

/*
 * Take from the sessions of a list that hold memory on the nodes, in list order, until *bytes of it are taken or
 * TAKEN_AT_A_TIME sessions are; the next call continues. False: none holds any.
 */
static bool take_from(struct reclaim *r, enum session_list list, uint64_t nodes, uint64_t *bytes)
{
	struct session *session, *next;
	unsigned n = 0;

	for (session = r->leases->lists[list]; session && *bytes && n < TAKEN_AT_A_TIME;
		session = next) {
		const uint64_t before = prospects_of(r, nodes).coming_bytes;
		uint64_t taken;

		next = session->next;
		if (!holds_wanted(r, session, nodes))
			continue;
		take(r, session, "the pool is full");
		taken = prospects_of(r, nodes).coming_bytes - before;
		*bytes -= taken < *bytes ? taken : *bytes;
		n++;
	}
	return n > 0;
}

static bool take_for(struct reclaim *r, uint64_t nodes, uint64_t bytes)
{
	bool any;

	if (r->leases->options->reclaim == RECLAIM_NEVER || !prospects_of(r, nodes).takeable_bytes)
		return false;
	any = take_from(r, LISTED_GONE, nodes, &bytes);
	return take_from(r, LISTED_EXPIRED, nodes, &bytes) || any;
}

/* True if a session said goodbye or lost its connection just now: its process may be exiting. */
static bool may_leave(const struct reclaim *r)
{
	const struct leases *l = r->leases;
	const struct session *detached = l->lists[LISTED_DETACHED];

	if (l->options->reclaim == RECLAIM_NEVER)
		return false;
	return l->lists[LISTED_LEAVING] ||
	       (detached && leases_age_ns(l, session_record(detached->prev)->state_since_ns) <
				    SESSION_LEAVING_NS);
}

/* ---- when ---- */

static void check_liveness(struct reclaim *r, uint64_t now_ns)
{
	if (now_ns - r->checked_ns < CHECK_EVERY_NS)
		return;
	r->checked_ns = now_ns;
	session_check_liveness(r->leases);
}

static bool is_under_way(const struct reclaim *r)
{
	return r->leases->pool->nquarantined || r->taking || r->access->nrevoking ||
	       r->leases->net->dying;
}

/* True while memory taken for the wish is coming back and the wiper has made progress within a second. */
static bool is_expected(struct reclaim *r, const struct wish *wish, uint64_t now_ns)
{
	const struct pool *pool = r->leases->pool;
	const uint64_t wiped_bytes = pool_wiped_bytes(pool);

	if (!r->taking && !r->access->nrevoking && !pool->nquarantined)
		*wish->taken = false;
	if (r->wiped_seen_bytes != wiped_bytes)
		r->progress_ns = now_ns;
	r->wiped_seen_bytes = wiped_bytes;
	return *wish->taken && now_ns - r->progress_ns < TAKE_MORE_NS;
}

bool reclaim_seek(struct reclaim *r, const struct wish *wish)
{
	const uint64_t now_ns = clock_boot_ns(), waited_ns = now_ns - wish->since_ns;
	const uint64_t since_ns = r->took_ns > wish->since_ns ? r->took_ns : wish->since_ns;
	const uint64_t bytes = block_bytes_for(wish->bytes);
	const uint64_t nodes = pool_rank_mask(r->leases->pool, wish);
	const bool enough = prospects_of(r, nodes).coming_bytes >= bytes;

	check_liveness(r, now_ns);
	if (waited_ns >= WAIT_MAX_NS)
		return false;
	if (is_expected(r, wish, now_ns) || (enough && now_ns - since_ns < TAKE_MORE_NS))
		return true;
	if (take_for(r, nodes, bytes)) {
		r->took_ns = r->progress_ns = now_ns;
		*wish->taken = true;
		return true;
	}
	/* Fewer bytes may suffice: they may merge with free neighbours. */
	return enough || (now_ns - since_ns < PATIENCE_NS && (is_under_way(r) || may_leave(r)));
}

/* ---- slices ---- */

/* Lines of history for the objects of a slab; those with the same call site in a row are noted together. */
static void note_objects(
	struct reclaim *r, const struct session_record *who, const struct allocation *a)
{
	const uint64_t now_ns = leases_time_ns(r->leases);
	const struct object_slab slab = { .slot_bytes = size_class_bytes(a->size_class),
		.opened_ns = who->opened_ns,
		.born_ns = a->birth_ns,
		.now_ns = now_ns };
	const bool sites = !(who->marks & SESSION_NO_SITES);
	struct history_loss loss = { .blocks = 0 };
	uint32_t site = 0;

	for (uint32_t i = slab_slots(a->size_class, a->bytes); i-- > 0;) {
		const struct object o = object_judge(slab_record(r->leases, a, i), &slab);
		const uint32_t its_site = sites ? o.site : 0;

		if (!o.held)
			continue;
		if (loss.blocks && its_site != site) {
			history_note_loss(
				r->history, who, sites_get(r->sites, site), &loss, now_ns);
			loss = (struct history_loss){ .blocks = 0 };
		}
		site = its_site;
		loss.born_ns = loss.blocks && loss.born_ns < o.birth_ns ? loss.born_ns : o.birth_ns;
		loss.blocks++;
		loss.bytes += o.bytes;
		loss.block_bytes += slab.slot_bytes;
	}
	if (loss.blocks)
		history_note_loss(r->history, who, sites_get(r->sites, site), &loss, now_ns);
}

/* Its history first. */
static void end_live(
	struct reclaim *r, const struct session *session, const struct allocation *a, bool ordered)
{
	struct session_record who = *session_record(session);

	/* A holder that is gone is gone, also if an operator takes its memory. */
	if (ordered && who.evidence == HOLDER_NO_EVIDENCE)
		who.evidence = HOLDER_ORDERED;
	r->blocks++;
	r->bytes += allocation_block_bytes(a);
	if (a->size_class)
		note_objects(r, &who, a);
	else
		history_note(r->history, &who, sites_get(r->sites, a->site), a,
			leases_time_ns(r->leases));
	ledger_set_state(r->leases->pool->ledger, a, ALLOCATION_REVOKING);
}

static void give_up(struct reclaim *r, struct session *session, const struct allocation *a)
{
	const uint64_t bytes = allocation_block_bytes(a);
	uint64_t *taking_bytes = &r->taking_bytes[allocation_node(a)];

	*taking_bytes -= bytes < *taking_bytes ? bytes : *taking_bytes;
	end_live(r, session, a, session->evicted);
}

/* Give up blocks of one session, on which other sessions may have grants. True: more are left. */
static bool give_up_some(struct reclaim *r, struct session *session, unsigned *budget)
{
	const struct ledger *ledger = r->leases->pool->ledger;
	const struct allocation *a = session->taking_next;

	while (a && *budget) {
		const struct allocation *next = next_live(
			r, session, ledger_next_of_session(ledger, session->grantee.slot, a));
		unsigned ends;

		give_up(r, session, a);
		ends = access_end_all(r->access, a) + 1 +
		       slab_slots(a->size_class, a->bytes) / SLOTS_PER_BLOCK;
		*budget -= ends < *budget ? ends : *budget;
		a = next;
	}
	session->taking_next = a;
	return a != NULL;
}

/* ---- by order ---- */

static void take_all(struct reclaim *r)
{
	struct session *const *lists = r->leases->lists;
	unsigned n = 0;

	while (lists[LISTED_GONE] && n++ < TAKEN_AT_A_TIME)
		take(r, lists[LISTED_GONE], "an operator orders it");
	while (lists[LISTED_EXPIRED] && n++ < TAKEN_AT_A_TIME)
		take(r, lists[LISTED_EXPIRED], "an operator orders it");
	r->all = lists[LISTED_GONE] || lists[LISTED_EXPIRED];
}

void reclaim_all(struct reclaim *r)
{
	r->all = true;
	work_wake(r->work);
}

/* With the last connection its grants are gone, and nobody asks for anything in its name. */
static void take_evicted(struct reclaim *r)
{
	struct session *session, *next;

	DL_FOREACH_SAFE (r->evicting, session, next) {
		if (session->nconnections)
			continue;
		DL_DELETE(r->evicting, session);
		take(r, session, "an operator has evicted it");
	}
}

int reclaim_evict(struct reclaim *r, struct session *session)
{
	const struct ledger *ledger = r->leases->pool->ledger;

	if (session->reclaiming)
		return -EALREADY;
	session_evict(session);
	/* Only with a LIVE block: without one it could be forgotten while listed. */
	if (next_live(r, session, ledger_next_of_session(ledger, session->grantee.slot, NULL)))
		DL_APPEND(r->evicting, session);
	else
		session_forget_if_done(session);
	work_wake(r->work);
	return 0;
}

int reclaim_revoke(struct reclaim *r, struct session *session, const struct allocation *a,
	struct wait *w, void (*done)(struct wait *w, int result))
{
	if (session->reclaiming || a->state != ALLOCATION_LIVE)
		return -EALREADY;
	session_lose(session, a);
	end_live(r, session, a, true);
	wait_on(access_revoked(r->access, a), w, done);
	access_end_all(r->access, a);
	work_wake(r->work);
	return 0;
}

/* ---- slices, together ---- */

bool reclaim_some(struct reclaim *r)
{
	unsigned budget = BLOCKS_PER_SLICE;

	if (r->all)
		take_all(r);
	take_evicted(r);
	while (r->taking && budget) {
		struct session *session = r->taking;

		if (give_up_some(r, session, &budget))
			break;
		DL_DELETE(r->taking, session);
	}
	/* If records were lost, a slot lists allocations that held_bytes() did not count (server/ledger/accounts.h). */
	if (!r->taking)
		memset(r->taking_bytes, 0, sizeof(r->taking_bytes));
	return r->taking || r->all;
}

void reclaim_retry(struct reclaim *r)
{
	wait_finish(&r->room, 0);
}

void reclaim_tick(struct reclaim *r, uint64_t now_ns)
{
	const struct leases *l = r->leases;
	const uint64_t courtesy_ns = l->terms.courtesy_ns;
	const uint64_t after_ns = l->options->reclaim_ms * NSEC_PER_MSEC;
	const bool after = l->options->reclaim == RECLAIM_AFTER && after_ns < courtesy_ns;
	struct session *session;
	unsigned n = 0;

	if (l->options->reclaim == RECLAIM_NEVER)
		return;
	while ((session = l->lists[LISTED_EXPIRED]) && session->lease.state == LEASE_LAPSED &&
		n++ < TAKEN_AT_A_TIME)
		take(r, session, "its courtesy is over");
	while ((session = l->lists[LISTED_GONE]) && n++ < TAKEN_AT_A_TIME) {
		const uint64_t since_ns = session_record(session)->state_since_ns;
		const uint64_t gone_ns = now_ns > since_ns ? now_ns - since_ns : 0;

		if (gone_ns < (after ? after_ns : courtesy_ns))
			break;
		take(r, session,
			after ? "gone for as long as --reclaim says" : "its courtesy is over");
	}
}
