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

bool room_fits_node(const struct alloc_request *q, unsigned node)
{
	const unsigned policy = q->placement.policy & ~PLACEMENT_STRICT;
	const bool strict = policy == PLACEMENT_DEFAULT || policy == PLACEMENT_BIND ||
			    (q->placement.policy & PLACEMENT_STRICT);

	if (policy == PLACEMENT_LOCAL)
		return !strict || (int)node == rooms.net.devices[0].node;
	if (policy == PLACEMENT_NEAR)
		return !strict || node == addr_node(q->placement.near);
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

static bool on_node(const struct pool_node *n, const struct alloc_request *q, bool owed)
{
	bool taken[NODE_PAGES_MAX] = { false };
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		if (addr_node(a->addr) == n->node && !(owed && is_owed(a)))
			memset(taken + addr_offset(a->addr) / PAGE_BYTES, true,
				allocation_block_bytes(a) / PAGE_BYTES);
	}
	return has_run(taken, n->arena.bytes / PAGE_BYTES, q->bytes);
}

static bool anywhere(const struct alloc_request *q, bool owed)
{
	for (unsigned i = 0; i < rooms.pool.nnodes && !q->navoid; i++) {
		const struct pool_node *n = &rooms.pool.nodes[i];

		if (room_fits_node(q, n->node) && on_node(n, q, owed))
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
