/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"

struct pool_node *pool_find_node(struct pool *p, unsigned node)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].node == node)
			return &p->nodes[i];
	}
	return NULL;
}

static void queue_wipe(struct pool *p, const struct allocation *a)
{
	uint32_t max = ledger_max(p->ledger);

	p->wipe_queue[(p->wipe_head + p->wipe_count++) % max] = ledger_slot(p->ledger, a);
}

void pool_close(struct pool *p)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		buddy_destroy(p->nodes[i].buddy);
		arena_close(&p->nodes[i].arena);
	}
	ledger_close(p->ledger);
	table_close(&p->proofs);
	free(p->wipe_queue);
	memset(p, 0, sizeof(*p));
}

static int take_block_on(struct pool_node *n, const struct wish *wish, uint64_t *out_offset)
{
	struct buddy_range avoid[AVOID_MAX];

	return buddy_alloc_outside(
		n->buddy, wish->bytes, avoid, wish_avoid_on(wish, n->node, avoid), out_offset);
}

/* From the first node in order that has room. */
static int take_block(struct pool *p, const struct wish *wish, const struct ranking *ranking,
	struct pool_node **out, uint64_t *out_offset)
{
	int err = -ENOSPC;

	if (wish->bytes > pool_max_alloc_bytes(p, ranking->mask))
		return -EFBIG; /* too large even for empty nodes: making room is useless */
	for (unsigned i = 0; err == -ENOSPC && i < ranking->count; i++) {
		*out = pool_find_node(p, ranking->nodes[i]);
		err = take_block_on(*out, wish, out_offset);
	}
	return err;
}

int pool_alloc(struct pool *p, const struct wish *wish, const struct allocation *draft,
	const struct allocation **out)
{
	struct allocation filled = *draft;
	struct ranking ranking;
	struct pool_node *n;
	uint64_t offset;
	int err;

	err = pool_rank(p, wish, &ranking, NULL);
	if (!err)
		err = take_block(p, wish, &ranking, &n, &offset);
	if (err)
		return err;
	filled.addr = addr_make(ADDR_SERVER, n->node, offset);
	filled.bytes = wish->bytes;
	err = ledger_add(p->ledger, &filled, out);
	if (err) {
		buddy_free(n->buddy, offset, allocation_block_bytes(&filled));
		return err == -EDQUOT || err == -EEXIST ? err : -ENOMEM;
	}
	pool_count(p, wish, &ranking, n->node);
	return 0;
}

static uint64_t largest_free_bytes(const struct pool *p, uint64_t nodes)
{
	uint64_t largest = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t here = buddy_largest_free_bytes(p->nodes[i].buddy);

		if ((nodes & 1ULL << p->nodes[i].node) && here > largest)
			largest = here;
	}
	return largest;
}

static uint64_t lent_bytes(const struct pool *p)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < p->nnodes; i++)
		bytes += buddy_size_bytes(p->nodes[i].buddy) - buddy_free_bytes(p->nodes[i].buddy);
	return bytes;
}

/* "pool is", "node 1 is", "nodes 0, 2 are": where the wish can be fulfilled. */
static const char *name_nodes(
	const struct pool *p, const struct wish *wish, uint64_t nodes, char *buf, size_t size)
{
	unsigned named = 0;
	size_t used;

	for (unsigned i = 0; i < p->nnodes; i++)
		named += (nodes >> p->nodes[i].node) & 1;
	if (named == p->nnodes && !wish->placement.nodes)
		return "pool is";
	used = (size_t)snprintf(buf, size, named > 1 ? "nodes" : "node");
	for (unsigned i = 0, n = 0; i < p->nnodes && used < size; i++) {
		if (nodes & 1ULL << p->nodes[i].node)
			used += (size_t)snprintf(
				buf + used, size - used, "%s %u", n++ ? "," : "", p->nodes[i].node);
	}
	if (used < size)
		snprintf(buf + used, size - used, named > 1 ? " are" : " is");
	return buf;
}

int pool_explain_full(
	const struct pool *p, const struct wish *wish, uint32_t session, struct errinfo *errinfo)
{
	const uint64_t own_bytes = ledger_session_bytes(p->ledger, session);
	const uint64_t nodes = pool_rank_mask(p, wish);
	char asked[UNITS_TEXT_SIZE], largest[UNITS_TEXT_SIZE];
	char own[UNITS_TEXT_SIZE], others[UNITS_TEXT_SIZE], where[128];

	units_format_bytes(wish->bytes, asked, sizeof(asked));
	units_format_bytes(largest_free_bytes(p, nodes), largest, sizeof(largest));
	units_format_bytes(own_bytes, own, sizeof(own));
	units_format_bytes(lent_bytes(p) - own_bytes, others, sizeof(others));
	return errinfo_set(errinfo, -ENOSPC,
		"the %s full: %s asked for, largest free block %s; "
		"of the whole pool this session holds %s in %u blocks, all others together %s "
		"(`rmemctl sessions` on the server tells who they are); free something, or start "
		"rmemd with a larger --size",
		name_nodes(p, wish, nodes, where, sizeof(where)), asked, largest, own,
		ledger_session_count(p->ledger, session), others);
}

/* End the record before the block can be allocated again. */
static void release(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));
	uint64_t offset = addr_offset(a->addr), block_bytes = allocation_block_bytes(a);
	const uint32_t session = a->session;
	int err;

	ledger_set_state(p->ledger, a, ALLOCATION_FREE);
	err = buddy_free(n->buddy, offset, block_bytes);
	if (err)
		log_error("allocator and ledger disagree about node %u offset 0x%" PRIx64
			  ": please report this",
			n->node, offset);
	if (p->emptied && !ledger_session_count(p->ledger, session))
		p->emptied(p->context, session);
}

void pool_quarantine(struct pool *p, const struct allocation *a)
{
	ledger_set_state(p->ledger, a, ALLOCATION_QUARANTINE);
	queue_wipe(p, a);
}

bool pool_wipe(struct pool *p, uint64_t budget_bytes)
{
	while (p->wipe_count && budget_bytes) {
		const struct allocation *a = ledger_at(p->ledger, p->wipe_queue[p->wipe_head]);
		struct pool_node *n = pool_find_node(p, addr_node(a->addr));
		/* Wipe the whole block: its next allocation may use more of it. */
		uint64_t left = allocation_block_bytes(a) - p->wiped_bytes;
		uint64_t now = left < budget_bytes ? left : budget_bytes, cost;

		arena_wipe(&n->arena, addr_offset(a->addr) + p->wiped_bytes, now);
		p->wiped_bytes += now;
		p->wipes++;
		/* A minimum cost bounds the number of pieces. */
		cost = now > BLOCK_MIN_BYTES ? now : BLOCK_MIN_BYTES;
		budget_bytes -= cost < budget_bytes ? cost : budget_bytes;
		if (p->wiped_bytes < allocation_block_bytes(a))
			break;
		p->wiped_bytes = 0;
		p->wipe_head = (p->wipe_head + 1) % ledger_max(p->ledger);
		p->wipe_count--;
		release(p, a);
	}
	return p->wipe_count > 0;
}

void *pool_pointer(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));

	return n->arena.base + addr_offset(a->addr);
}

uint64_t pool_max_alloc_bytes(const struct pool *p, uint64_t nodes)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t bytes;

		if (!(nodes & 1ULL << p->nodes[i].node))
			continue;
		bytes = 1ULL << (63 - __builtin_clzll(p->nodes[i].arena.bytes));

		max = bytes > max ? bytes : max;
	}
	return max < p->block_max ? max : p->block_max;
}
