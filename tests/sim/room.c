/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/room.h"

#include <string.h>

#include "tests/sim/model.h"
#include "tests/sim/rooms.h"
#include "tests/sim/window.h"

#define NODE_PAGES_MAX 256

static bool is_reached(const struct allocation *a)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		if (w->bound && w->serial == a->serial)
			return true;
	}
	return false;
}

/* Would the server give it back if it had to? */
static bool is_owed(const struct allocation *a)
{
	const struct session_record *r = sessions_get(rooms.leases.records, a->session);

	return a->state == ALLOCATION_LIVE && r &&
	       (r->state == SESSION_CLOSED || r->state == SESSION_DEAD) &&
	       !rooms.leases.sessions[a->session].nconnections && !is_reached(a);
}

int room_node_of(uint64_t addr)
{
	const struct segment *s =
		addr_is_remote(addr) ? pool_find_segment(&rooms.pool, addr) : NULL;

	return s ? (int)s->node : -1;
}

bool room_fits_node(const struct alloc_request *q, unsigned node)
{
	const unsigned policy = q->placement.policy & ~PLACEMENT_STRICT;
	const bool strict = policy == PLACEMENT_DEFAULT || policy == PLACEMENT_BIND ||
			    (q->placement.policy & PLACEMENT_STRICT);

	if (policy == PLACEMENT_LOCAL)
		return !strict || (int)node == rooms.net.devices[0].node;
	if (policy == PLACEMENT_NEAR)
		return !strict || (int)node == room_node_of(q->placement.near);
	return !strict || !q->placement.nodes || (q->placement.nodes & 1ULL << node);
}

static bool has_run(const bool taken[NODE_PAGES_MAX], uint64_t pages, uint64_t bytes)
{
	const uint64_t run = block_bytes_for(bytes) / PAGE_BYTES;

	for (uint64_t from = 0; from + run <= pages; from += block_align(bytes) / PAGE_BYTES) {
		uint64_t n = 0;

		while (n < run && !taken[from + n])
			n++;
		if (n == run)
			return true;
	}
	return false;
}

static bool in_segment(const struct segment *s, const struct alloc_request *q, bool owed)
{
	bool taken[NODE_PAGES_MAX] = { false };
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		if (addr_segment(a->addr) == s->number && !(owed && is_owed(a)))
			memset(taken + addr_offset(a->addr) / PAGE_BYTES, true,
				allocation_block_bytes(a) / PAGE_BYTES);
	}
	return has_run(taken, s->arena.bytes / PAGE_BYTES, q->bytes);
}

static bool anywhere(const struct alloc_request *q, bool owed)
{
	unsigned cursor = 0;

	for (struct segment *s;
		!q->navoid && (s = pool_next_segment(&rooms.pool, &cursor)) != NULL;) {
		if (room_fits_node(q, s->node) && in_segment(s, q, owed))
			return true;
	}
	return false;
}

bool room_is_there(const struct alloc_request *q)
{
	return anywhere(q, false);
}

bool room_is_owed(const struct alloc_request *q)
{
	return rooms.options.reclaim != RECLAIM_NEVER && anywhere(q, true);
}
