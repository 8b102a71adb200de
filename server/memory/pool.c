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
#include "rmem/rmem.h"
#include "server/memory/quarantine.h"

struct pool_node *pool_find_node(struct pool *p, unsigned node)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].node == node)
			return &p->nodes[i];
	}
	return NULL;
}

void pool_close(struct pool *p)
{
	quarantine_close(p);
	for (unsigned i = 0; i < p->nnodes; i++) {
		buddy_destroy(p->nodes[i].buddy);
		arena_close(&p->nodes[i].arena);
	}
	ledger_close(p->ledger);
	table_close(&p->proofs);
	memset(p, 0, sizeof(*p));
}

static struct pool_node *node_with_most_free(struct pool *p)
{
	struct pool_node *best = &p->nodes[0];

	for (unsigned i = 1; i < p->nnodes; i++) {
		if (buddy_free_bytes(p->nodes[i].buddy) > buddy_free_bytes(best->buddy))
			best = &p->nodes[i];
	}
	return best;
}

static int take_block_on(struct pool_node *n, const struct wish *wish, uint64_t *out_offset)
{
	struct buddy_range avoid[AVOID_MAX];

	return buddy_alloc_outside(
		n->buddy, wish->bytes, avoid, wish_avoid_on(wish, n->node, avoid), out_offset);
}

/* For any node: try the one with most free bytes first, then (fragmentation) the others. */
static int take_block(
	struct pool *p, const struct wish *wish, struct pool_node **out, uint64_t *out_offset)
{
	const bool any = wish->node == RMEM_NODE_ANY;
	struct pool_node *n =
		any ? node_with_most_free(p) : pool_find_node(p, (unsigned)wish->node);
	int err;

	if (!n)
		return -EINVAL;
	if (wish->bytes > pool_max_alloc_bytes(p, wish->node))
		return -EFBIG; /* too large even for an empty pool: making room is useless */
	err = take_block_on(n, wish, out_offset);
	for (unsigned i = 0; err == -ENOSPC && any && i < p->nnodes; i++) {
		n = &p->nodes[i];
		err = take_block_on(n, wish, out_offset);
	}
	if (!err)
		*out = n;
	return err;
}

int pool_alloc(struct pool *p, const struct wish *wish, const struct allocation *draft,
	const struct allocation **out)
{
	const uint64_t block_bytes = buddy_block_bytes(wish->bytes);
	struct allocation filled = *draft;
	struct pool_node *n;
	uint64_t offset;
	int err;

	err = take_block(p, wish, &n, &offset);
	if (err)
		return err;
	filled.addr = addr_make(ADDR_SERVER, n->node, offset);
	filled.bytes = wish->bytes;
	filled.order = (uint8_t)__builtin_ctzll(block_bytes);
	err = ledger_add(p->ledger, &filled, out);
	if (err) {
		buddy_free(n->buddy, offset, block_bytes);
		return err == -EDQUOT || err == -EEXIST ? err : -ENOMEM;
	}
	return 0;
}

static uint64_t largest_free_bytes(const struct pool *p, int node)
{
	uint64_t largest = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t here = buddy_largest_free_bytes(p->nodes[i].buddy);

		if ((node == RMEM_NODE_ANY || node == (int)p->nodes[i].node) && here > largest)
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

int pool_explain_full(
	const struct pool *p, const struct wish *wish, uint32_t session, struct errinfo *errinfo)
{
	const uint64_t own_bytes = ledger_session_bytes(p->ledger, session);
	char asked[UNITS_TEXT_SIZE], block[UNITS_TEXT_SIZE], largest[UNITS_TEXT_SIZE];
	char own[UNITS_TEXT_SIZE], others[UNITS_TEXT_SIZE], where[24] = "pool";

	if (wish->node != RMEM_NODE_ANY)
		snprintf(where, sizeof(where), "node %d", wish->node);
	units_format_bytes(wish->bytes, asked, sizeof(asked));
	units_format_bytes(buddy_block_bytes(wish->bytes), block, sizeof(block));
	units_format_bytes(largest_free_bytes(p, wish->node), largest, sizeof(largest));
	units_format_bytes(own_bytes, own, sizeof(own));
	units_format_bytes(lent_bytes(p) - own_bytes, others, sizeof(others));
	return errinfo_set(errinfo, -ENOSPC,
		"the %s is full: %s asked for, which takes a block of %s, largest free block %s; "
		"of the whole pool this session holds %s in %u blocks, all others together %s "
		"(`rmemctl sessions` on the server tells who they are); free something, or start "
		"rmemd with a larger --size",
		where, asked, block, largest, own, ledger_session_count(p->ledger, session),
		others);
}

/* End the record before the block can be allocated again. */
void pool_release(struct pool *p, const struct allocation *a)
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

void *pool_pointer(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));

	return n->arena.base + addr_offset(a->addr);
}

uint64_t pool_max_alloc_bytes(const struct pool *p, int node)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t bytes;

		if (node != RMEM_NODE_ANY && p->nodes[i].node != (unsigned)node)
			continue;
		bytes = 1ULL << (63 - __builtin_clzll(p->nodes[i].arena.bytes));

		max = bytes > max ? bytes : max;
	}
	return max < p->block_max ? max : p->block_max;
}
