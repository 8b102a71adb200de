/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/relief.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "rmem/rmem.h"
#include "server/reaper.h"
#include "server/session.h"

#define LEAVING_NS NSEC_PER_SEC /* a killed process's memory and descriptors are gone by then */

/* A look that took longer than that is made again only when ten times as long has passed. */
#define LONG_LOOK_NS NSEC_PER_MSEC
#define LOOK_SHARE 10

/* ---- what the pool would be like ---- */

struct outlook {
	struct pool *pool;
	uint64_t block_bytes;                 /* what is sought */
	struct buddy *trials[ADDR_MAX_NODES]; /* of pool->nodes[]; NULL where it is not sought */
};

static void outlook_close(struct outlook *o)
{
	for (unsigned i = 0; i < ADDR_MAX_NODES; i++)
		buddy_destroy(o->trials[i]);
}

static int outlook_open(struct outlook *o, struct pool *p, uint64_t bytes, int node)
{
	int err = 0;

	*o = (struct outlook){ .pool = p, .block_bytes = buddy_block_bytes(bytes) };
	for (unsigned i = 0; i < p->nnodes && !err; i++) {
		if (node == RMEM_NODE_ANY || p->nodes[i].node == (unsigned)node)
			err = buddy_copy(p->nodes[i].buddy, &o->trials[i]);
	}
	if (err)
		outlook_close(o);
	return err;
}

static void without(struct outlook *o, uint32_t slot)
{
	const struct allocation *a = NULL;

	while ((a = ledger_next_of_session(o->pool->ledger, slot, a))) {
		const struct pool_node *n = pool_find_node(o->pool, addr_node(a->addr));
		struct buddy *trial = o->trials[n - o->pool->nodes];

		if (a->state == ALLOCATION_LIVE && trial)
			buddy_free(trial, addr_offset(a->addr), allocation_block_bytes(a));
	}
}

static bool has_room(const struct outlook *o)
{
	for (unsigned i = 0; i < o->pool->nnodes; i++) {
		if (o->trials[i] && buddy_largest_free_bytes(o->trials[i]) >= o->block_bytes)
			return true;
	}
	return false;
}

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
static bool may_be_leaving(const struct session_record *r)
{
	uint64_t now_ns = clock_real_ns();

	return now_ns >= r->state_since_ns && now_ns - r->state_since_ns < LEAVING_NS;
}

static enum rank rank_of(const struct session *session, const struct session_record *r)
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
		return may_be_leaving(r) ? MAY_BE_LEAVING : STAYS;
	default:
		return STAYS;
	}
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

static unsigned list_candidates(struct server *s, struct candidate *list)
{
	const struct session_record *r;
	uint32_t cursor = 0, slot;
	unsigned n = 0;

	while ((r = sessions_next(s->records, &cursor, &slot))) {
		enum rank rank = rank_of(&s->sessions[slot], r);

		if (rank != STAYS && ledger_session_count(s->pool.ledger, slot))
			list[n++] = (struct candidate){ rank, slot, r->state_since_ns };
	}
	qsort(list, n, sizeof(*list), in_turn);
	return n;
}

/*
 * Without it there is room, and with it, though all before it in the list be gone, there is none. So it has to go, and
 * perhaps it is enough: those before it are looked at again when its blocks are free.
 */
static const struct candidate *find_needed(
	struct outlook *o, const struct candidate *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		without(o, list[i].slot);
		if (has_room(o))
			return &list[i];
	}
	return NULL;
}

/* What cannot be tried out for want of memory is not taken. */
static bool look(struct server *s, uint64_t bytes, int node)
{
	struct candidate *list = calloc(sessions_count(s->records), sizeof(*list));
	const struct candidate *needed = NULL;
	struct outlook o;
	unsigned n;

	if (!list)
		return false;
	n = list_candidates(s, list);
	if (n && !outlook_open(&o, &s->pool, bytes, node)) {
		needed = find_needed(&o, list, n);
		outlook_close(&o);
	}
	if (needed && needed->rank != MAY_BE_LEAVING)
		reaper_reclaim(s, &s->sessions[needed->slot], "the pool is full");
	free(list);
	return needed != NULL;
}

/* ---- when ---- */

static bool is_under_way(const struct server *s)
{
	uint32_t cursor = 0, slot;

	if (s->pool.wipe_count || s->dying || s->nrevoking)
		return true;
	while (sessions_next(s->records, &cursor, &slot)) {
		if (s->sessions[slot].reclaiming && !s->sessions[slot].reclaimed)
			return true;
	}
	return false;
}

/* However many ask for what is not there, the loop has nine tenths of its time for others. */
bool relief_seek(struct server *s, uint64_t bytes, int node)
{
	uint64_t began_ns = clock_boot_ns(), took_ns;
	bool hope;

	if (is_under_way(s))
		return true;
	if (s->options.reclaim == RECLAIM_NEVER)
		return false;
	if (began_ns < s->look_again_ns)
		return true;  /* the next tick tries again */
	session_judge_all(s); /* as of now, not of the last time somebody looked */
	hope = look(s, bytes, node);
	took_ns = clock_boot_ns() - began_ns;
	s->look_again_ns = took_ns < LONG_LOOK_NS ? 0 : began_ns + LOOK_SHARE * took_ns;
	return hope;
}
