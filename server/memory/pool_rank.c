/* SPDX-License-Identifier: BSD-3-Clause */
/* Where in a pool memory for a wish is sought: what is known of its nodes, given to ranking.h. */
#include "server/memory/pool.h"

#include <errno.h>
#include <inttypes.h>

#include "server/memory/facts.h"

static unsigned policy_of(const struct wish *wish)
{
	return wish->placement.policy & ~PLACEMENT_STRICT;
}

/* The node that an address of the pool lies on. */
static int node_of_address(const struct pool *p, uint64_t addr, int *out, struct errinfo *errinfo)
{
	const struct segment *s = addr_is_remote(addr) ? pool_find_segment(p, addr) : NULL;

	if (s && addr_offset(addr) < s->arena.bytes) {
		*out = (int)s->node;
		return 0;
	}
	return errinfo_set(errinfo, -EINVAL,
		"0x%" PRIx64 ", near which memory is wanted, is not in this server's pool", addr);
}

static int origin_of(
	const struct pool *p, const struct wish *wish, int *out, struct errinfo *errinfo)
{
	*out = RANKING_NOWHERE;
	if (policy_of(wish) == PLACEMENT_NEAR)
		return node_of_address(p, wish->placement.near, out, errinfo);
	if (policy_of(wish) == PLACEMENT_LOCAL)
		*out = wish->nic;
	return 0;
}

unsigned pool_facts(const struct pool *p, struct ranking_node out[ADDR_MAX_NODES])
{
	unsigned cursor = 0;

	for (unsigned i = 0; i < p->nnodes; i++)
		out[i] = facts_of_node(p->topology, p->nodes[i].node);
	for (struct segment *s; (s = pool_next_segment(p, &cursor)) != NULL;) {
		const uint64_t bytes = buddy_free_bytes(s->buddy);

		for (unsigned i = 0; i < p->nnodes; i++)
			out[i].free_bytes += out[i].node == s->node ? bytes : 0;
	}
	return p->nnodes;
}

int pool_rank(
	const struct pool *p, const struct wish *wish, struct ranking *out, struct errinfo *errinfo)
{
	struct ranking_question q = { .placement = &wish->placement,
		.turns = wish->turns ? *wish->turns : 0 };
	struct ranking_node nodes[ADDR_MAX_NODES] = { 0 };
	int err = origin_of(p, wish, &q.origin, errinfo);

	if (err)
		return err;
	pool_facts(p, nodes);
	for (unsigned i = 0; i < p->nnodes && q.origin != RANKING_NOWHERE; i++)
		nodes[i].distance =
			topology_distance(p->topology, (unsigned)q.origin, nodes[i].node);
	return ranking_make(&q, nodes, p->nnodes, out, errinfo);
}

uint64_t pool_rank_mask(const struct pool *p, const struct wish *wish)
{
	struct ranking ranking;

	return pool_rank(p, wish, &ranking, NULL) ? 0 : ranking.mask;
}

void pool_count(
	struct pool *p, const struct wish *wish, const struct ranking *ranking, unsigned node)
{
	numastat_count(p->stats, &wish->placement, ranking, node, wish->nic);
	if (policy_of(wish) == PLACEMENT_INTERLEAVE && wish->turns)
		*wish->turns = (uint8_t)(ranking->nodes[0] + 1);
}
