/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/relief.h"

#include <stdlib.h>

#include "common/clock.h"
#include "server/memory/outlook.h"
#include "rmem/rmem.h"
#include "server/grant/access.h"
#include "server/lease/reclaim.h"
#include "server/lease/session.h"

#define LEAVING_NS NSEC_PER_SEC /* a killed process's memory and descriptors are gone by then */
#define LOOK_SHARE 10           /* of the loop's time one part goes into looking */
#define PAUSE_MAX_NS NSEC_PER_SEC
#define JUDGE_EVERY_NS (100 * NSEC_PER_MSEC)

/* For how long an allocation waits for what only may come: who is asked now answers before most clients give up. */
#define PATIENCE_NS (2 * NSEC_PER_SEC)

/* ---- who may lose what it holds ---- */

/* Higher goes first. */
enum rank { STAYS, MAY_BE_LEAVING, EXPIRED, GONE };

struct candidate {
	enum rank rank;
	uint32_t slot;
	uint64_t since_ns;
};

/*
 * Its connection has only just ended: if that is because its process is on its way out, it will be known
 * to be dead in a moment.
 */
static bool may_be_leaving(const struct session_record *r, uint64_t now_ns)
{
	return now_ns >= r->state_since_ns && now_ns - r->state_since_ns < LEAVING_NS;
}

static enum rank rank_of(
	const struct session *session, const struct session_record *r, uint64_t now_ns)
{
	if (session->reclaiming)
		return STAYS;
	/* Who said goodbye has a second to hang up (drop_idlers()). */
	if (session->nconnections)
		return r->state == SESSION_CLOSED ? MAY_BE_LEAVING : STAYS;
	switch (r->state) {
	case SESSION_CLOSED:
	case SESSION_DEAD:
		return GONE;
	case SESSION_DETACHED:
		if (session->lease.state >= LEASE_EXPIRED)
			return EXPIRED;
		return may_be_leaving(r, now_ns) ? MAY_BE_LEAVING : STAYS;
	default:
		return STAYS;
	}
}

/*
 * Calls found() for each; returns a number that stays the same as long as they all do, and nothing has been
 * given back besides.
 */
static uint64_t each_candidate(
	struct relief *r, void (*found)(const struct candidate *c, void *arg), void *arg)
{
	struct leases *l = r->leases;
	uint64_t now_ns = leases_time_ns(l), state = l->pool->releases + l->pool->wipe_count;
	const struct session_record *record;
	uint32_t cursor = 0, slot;

	if (l->options->reclaim == RECLAIM_NEVER)
		return state;
	while ((record = sessions_next(l->records, &cursor, &slot))) {
		const struct candidate c = { rank_of(&l->sessions[slot], record, now_ns), slot,
			record->state_since_ns };

		if (c.rank == STAYS || !ledger_session_count(l->pool->ledger, slot))
			continue;
		found(&c, arg);
		state = (state ^ slot ^ (uint64_t)c.rank << 32 ^ c.since_ns) * 0x9e3779b97f4a7c15U;
	}
	return state;
}

static void count(const struct candidate *c, void *arg)
{
	(void)c;
	++*(size_t *)arg;
}

static int in_turn(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	if (a->rank != b->rank)
		return a->rank > b->rank ? -1 : 1;
	if (a->since_ns != b->since_ns)
		return a->since_ns < b->since_ns ? -1 : 1;
	return a->slot < b->slot ? -1 : 1;
}

/* ---- what it would help ---- */

static bool is_under_way(const struct relief *r)
{
	const struct leases *l = r->leases;

	return l->pool->wipe_count || l->net->dying || r->access->nrevoking || l->nreclaiming;
}

/* What is on its way back, as if it were there. */
static void without_pending(const struct leases *l, struct outlook *o)
{
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(o->ledger, &cursor))) {
		if (a->state != ALLOCATION_LIVE || l->sessions[a->session].reclaiming)
			outlook_without(o, a);
	}
}

static bool open_outlook(struct relief *r, const struct wish *wish, struct outlook *o)
{
	const struct pool *p = r->leases->pool;

	*o = (struct outlook){ .ledger = p->ledger };
	for (unsigned i = 0; i < p->nnodes; i++) {
		const struct pool_node *n = &p->nodes[i];

		if ((wish->node == RMEM_NODE_ANY || n->node == (unsigned)wish->node) &&
			outlook_add_node(o, n->node, n->buddy)) {
			outlook_close(o);
			return false;
		}
	}
	if (is_under_way(r))
		without_pending(r->leases, o);
	return true;
}

struct list {
	struct candidate *candidates;
	uint32_t *slots; /* theirs */
	bool *needed;
	size_t n;
};

static void add(const struct candidate *c, void *arg)
{
	struct list *list = arg;

	list->candidates[list->n++] = *c;
}

/* All of them, in turn. */
static bool list_open(struct relief *r, struct list *list)
{
	const size_t max = sessions_count(r->leases->records) + 1;

	*list = (struct list){ .candidates = calloc(max, sizeof(*list->candidates)),
		.slots = calloc(max, sizeof(*list->slots)),
		.needed = calloc(max, sizeof(*list->needed)) };
	if (!list->candidates || !list->slots || !list->needed)
		return false;
	each_candidate(r, add, list);
	qsort(list->candidates, list->n, sizeof(*list->candidates), in_turn);
	for (size_t i = 0; i < list->n; i++)
		list->slots[i] = list->candidates[i].slot;
	return true;
}

static void list_close(struct list *list)
{
	free(list->candidates);
	free(list->slots);
	free(list->needed);
}

/* Who may be leaving is the last in turn: it is waited for, and until then nothing is taken from anybody. */
static enum hope take_needed(
	struct relief *r, const struct wish *wish, const struct list *list, struct outlook *o)
{
	size_t n = outlook_choose(o, wish, list->slots, list->n, list->needed);

	if (n == 0)
		return HOPE_NONE;
	if (list->candidates[n - 1].rank == MAY_BE_LEAVING)
		return HOPE_LEAVING;
	for (size_t i = 0; i < n; i++) {
		if (list->needed[i])
			reclaim_session(r->reclaim, &r->leases->sessions[list->slots[i]],
				"the pool is full");
	}
	return HOPE_SOON;
}

/* False: there is no memory to try it out. */
static bool look(struct relief *r, const struct wish *wish, enum hope *out)
{
	struct outlook o;
	struct list list;
	bool ok = list_open(r, &list) && open_outlook(r, wish, &o);

	if (ok) {
		*out = outlook_has_room(&o, wish) ? HOPE_SOON : take_needed(r, wish, &list, &o);
		outlook_close(&o);
	}
	list_close(&list);
	return ok;
}

/* ---- when ---- */

/* The next time for what has taken so long: then it has had a tenth of the loop's time, if not a standstill was long. */
static uint64_t after_pause(uint64_t began_ns)
{
	const uint64_t now_ns = clock_boot_ns();
	const uint64_t pause_ns = (LOOK_SHARE - 1) * (now_ns - began_ns);

	return now_ns + (pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS);
}

/* Who is dead as of now, or nearly: not of the last time somebody looked. */
static void judge(struct relief *r, uint64_t now_ns)
{
	uint64_t next_ns;

	if (now_ns < r->judge_ns)
		return;
	session_judge_all(r->leases);
	next_ns = after_pause(now_ns);
	r->judge_ns = next_ns > now_ns + JUDGE_EVERY_NS ? next_ns : now_ns + JUDGE_EVERY_NS;
}

void relief_survey(struct relief *r)
{
	judge(r, clock_boot_ns());
	r->ncandidates = 0;
	r->state = each_candidate(r, count, &r->ncandidates);
}

/* The last look, which avoided no addresses, found no room for as much or less, and nothing has changed since. */
static bool is_answered(const struct relief *r, const struct wish *wish)
{
	return r->hope != HOPE_SOON && r->answer_state == r->state && !r->picky &&
	       (r->node == RMEM_NODE_ANY || r->node == wish->node) &&
	       buddy_block_bytes(wish->bytes) >= buddy_block_bytes(r->bytes);
}

/* What cannot be tried out for want of memory is not taken, and no answer for others. */
static bool look_and_remember(struct relief *r, const struct wish *wish)
{
	const uint64_t began_ns = clock_boot_ns();
	bool ok;

	r->hope = HOPE_SOON;
	ok = look(r, wish, &r->hope);
	r->bytes = wish->bytes;
	r->node = wish->node;
	r->picky = wish->navoid;
	r->answer_state = r->state;
	r->next_ns = after_pause(began_ns);
	return ok;
}

bool relief_seek(struct relief *r, const struct wish *wish)
{
	const uint64_t now_ns = clock_boot_ns();
	const bool patient = now_ns - wish->since_ns < PATIENCE_NS;
	const bool under_way = is_under_way(r);

	if (under_way && patient)
		return true;
	if (!under_way && !r->ncandidates)
		return false;
	if (!is_answered(r, wish)) {
		if (now_ns < r->next_ns)
			return true;
		if (!look_and_remember(r, wish))
			return false;
	}
	return r->hope == HOPE_SOON || (r->hope == HOPE_LEAVING && patient);
}

uint64_t relief_next_ns(const struct relief *r)
{
	return r->next_ns;
}
