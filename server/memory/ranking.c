/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/ranking.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#define BIT(node) (1ULL << (node))

const char *ranking_attribute_name(unsigned attribute)
{
	static const char *const names[PLACEMENT_ATTRIBUTES] = { "none", "capacity", "bandwidth",
		"latency" };

	return names[attribute];
}

/* ---- best ---- */

/* Is a value, which is known, as good as the other one, but for an eighth? */
static bool is_as_good(uint64_t value, uint64_t other, unsigned attribute)
{
	if (attribute == PLACEMENT_LATENCY)
		return value - value / 8 <= other;
	return value >= other - other / 8;
}

static bool is_best(
	const struct ranking_node *nodes, unsigned n, uint64_t value, unsigned attribute)
{
	for (unsigned i = 0; i < n; i++) {
		const uint64_t other = nodes[i].values[attribute];

		if (other && !is_as_good(value, other, attribute))
			return false;
	}
	return value != 0;
}

uint64_t ranking_best(const struct ranking_node *nodes, unsigned n, unsigned attribute)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < n; i++) {
		if (is_best(nodes, n, nodes[i].values[attribute], attribute))
			mask |= BIT(nodes[i].node);
	}
	return mask;
}

/* ---- what is wrong with a request ---- */

static uint64_t mask_of(const struct ranking_node *nodes, unsigned n)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < n; i++)
		mask |= BIT(nodes[i].node);
	return mask;
}

static int check_fields(const struct placement *p, uint64_t lending, struct errinfo *errinfo)
{
	/* A bit per policy that takes the field. */
	const unsigned takes_nodes = 1U << PLACEMENT_DEFAULT | 1U << PLACEMENT_BIND |
				     1U << PLACEMENT_PREFERRED | 1U << PLACEMENT_INTERLEAVE;
	const unsigned needs_nodes = 1U << PLACEMENT_BIND | 1U << PLACEMENT_PREFERRED;
	const unsigned policy = p->policy & ~PLACEMENT_STRICT;
	const uint64_t absent = p->nodes & ~lending;

	if (policy >= PLACEMENT_POLICIES || p->attribute >= PLACEMENT_ATTRIBUTES)
		return errinfo_set(errinfo, -EINVAL,
			"the server knows no policy %u, or no attribute %u of memory", policy,
			p->attribute);
	if ((p->nodes && !(takes_nodes & 1U << policy)) || (p->near && policy != PLACEMENT_NEAR) ||
		!p->attribute != (policy != PLACEMENT_BEST))
		return errinfo_set(errinfo, -EINVAL,
			"the policy does not take the nodes, the address or the attribute that "
			"came "
			"with it");
	if (!p->nodes && (needs_nodes & 1U << policy))
		return errinfo_set(errinfo, -EINVAL, "the policy needs nodes, and none is named");
	if (absent)
		return errinfo_set(errinfo, -EINVAL, "the server has no NUMA node %d that lends",
			__builtin_ctzll(absent));
	return 0;
}

/* strict: nothing is left to try. */
static int refuse_strict(const struct ranking_question *q, struct errinfo *errinfo)
{
	if ((q->placement->policy & ~PLACEMENT_STRICT) == PLACEMENT_BEST)
		return errinfo_set(errinfo, -ENODEV,
			"the server does not know the %s of its nodes' memory (its firmware does "
			"not "
			"say): name nodes, or leave out strict",
			ranking_attribute_name(q->placement->attribute));
	if (q->origin == RANKING_NOWHERE)
		return errinfo_set(errinfo, -ENODEV,
			"the server does not know to which NUMA node its RDMA device is attached "
			"(soft-RoCE is mostly attached to none): name nodes, or leave out strict");
	return errinfo_set(errinfo, -ENODEV,
		"the memory would have to be on the server's NUMA node %d, which lends none: name "
		"nodes, or leave out strict",
		q->origin);
}

/* ---- the order ---- */

/* A node as a policy sees it. */
struct candidate {
	const struct ranking_node *node;
	bool wanted;
	uint64_t place; /* the lower, the earlier */
};

/* LOCAL, NEAR: the nearest, where the origin itself lends nothing; strict: only the origin. */
static void by_distance(const struct ranking_question *q, struct candidate *c, unsigned n)
{
	const bool strict = q->placement->policy & PLACEMENT_STRICT;
	unsigned least = UINT32_MAX;

	for (unsigned i = 0; i < n; i++) {
		c[i].place = c[i].node->distance;
		least = c[i].node->distance < least ? c[i].node->distance : least;
	}
	for (unsigned i = 0; i < n; i++)
		c[i].wanted =
			strict ? (int)c[i].node->node == q->origin : c[i].node->distance == least;
}

static void by_value(struct candidate *c, unsigned n, uint64_t best, unsigned attribute)
{
	for (unsigned i = 0; i < n; i++) {
		const uint64_t value = c[i].node->values[attribute];

		c[i].wanted = best & BIT(c[i].node->node);
		/* Of the best ones none is preferred for a slightly better value. */
		if (!c[i].wanted)
			c[i].place = attribute == PLACEMENT_LATENCY && value ? value : ~value;
	}
}

static void by_nodes(const struct ranking_question *q, struct candidate *c, unsigned n)
{
	const uint64_t nodes = q->placement->nodes ? q->placement->nodes : UINT64_MAX;

	for (unsigned i = 0; i < n; i++)
		c[i].wanted = nodes & BIT(c[i].node->node);
}

/* The next one after the last turn, around the circle of all possible nodes. */
static void by_turns(const struct ranking_question *q, struct candidate *c, unsigned n)
{
	by_nodes(q, c, n);
	for (unsigned i = 0; i < n; i++)
		c[i].place = (c[i].node->node - q->turns) % ADDR_MAX_NODES;
}

static void judge(const struct ranking_question *q, const struct ranking_node *nodes,
	struct candidate *c, unsigned n)
{
	const struct placement *p = q->placement;
	const bool strict = p->policy & PLACEMENT_STRICT;
	const uint64_t best = p->attribute ? ranking_best(nodes, n, p->attribute) : 0;

	switch (p->policy & ~PLACEMENT_STRICT) {
	case PLACEMENT_INTERLEAVE:
		by_turns(q, c, n);
		return;
	case PLACEMENT_LOCAL:
	case PLACEMENT_NEAR:
		if (q->origin != RANKING_NOWHERE)
			by_distance(q, c, n);
		else if (!strict)
			by_nodes(q, c, n);
		return;
	case PLACEMENT_BEST:
		if (best || strict)
			by_value(c, n, best, p->attribute);
		else
			by_nodes(q, c, n);
		return;
	default:
		by_nodes(q, c, n);
	}
}

static int compare(const void *left, const void *right)
{
	const struct candidate *l = left, *r = right;

	if (l->wanted != r->wanted)
		return l->wanted ? -1 : 1;
	if (l->place != r->place)
		return l->place < r->place ? -1 : 1;
	if (l->node->free_bytes != r->node->free_bytes)
		return l->node->free_bytes > r->node->free_bytes ? -1 : 1;
	return l->node->node < r->node->node ? -1 : 1;
}

static bool may_fall_back(const struct placement *p)
{
	const unsigned policy = p->policy & ~PLACEMENT_STRICT;

	return !(p->policy & PLACEMENT_STRICT) && policy != PLACEMENT_BIND &&
	       policy != PLACEMENT_DEFAULT;
}

int ranking_make(const struct ranking_question *q, const struct ranking_node *nodes, unsigned n,
	struct ranking *out, struct errinfo *errinfo)
{
	struct candidate c[ADDR_MAX_NODES];
	struct ranking r = { .count = 0 };
	int err = check_fields(q->placement, mask_of(nodes, n), errinfo);

	if (err)
		return err;
	for (unsigned i = 0; i < n; i++)
		c[i] = (struct candidate){ .node = &nodes[i] };
	judge(q, nodes, c, n);
	qsort(c, n, sizeof(c[0]), compare);
	for (unsigned i = 0; i < n && (c[i].wanted || may_fall_back(q->placement)); i++) {
		r.wanted += c[i].wanted;
		r.nodes[r.count++] = (uint8_t)c[i].node->node;
		r.mask |= BIT(c[i].node->node);
	}
	if (!r.count)
		return refuse_strict(q, errinfo);
	/* In turn, one node is meant each time. */
	if ((q->placement->policy & ~PLACEMENT_STRICT) == PLACEMENT_INTERLEAVE)
		r.wanted = 1;
	*out = r;
	return 0;
}
