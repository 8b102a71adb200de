/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/facts.h"

#include "numa/topology.h"

struct ranking_node facts_of_node(const struct topology *t, unsigned node)
{
	const struct topology_node *n = topology_find(t, node);

	if (!n)
		return (struct ranking_node){ .node = node };
	return (struct ranking_node){ .node = node,
		.values = { [PLACEMENT_CAPACITY] = n->total_bytes,
			[PLACEMENT_BANDWIDTH] = n->bandwidth_mib_s,
			[PLACEMENT_LATENCY] = n->latency_ns } };
}

unsigned facts_of_all(const struct topology *t, struct ranking_node out[ADDR_MAX_NODES])
{
	unsigned n = 0;

	while (n < topology_count(t) && topology_at(t, n)->node < ADDR_MAX_NODES) {
		out[n] = facts_of_node(t, topology_at(t, n)->node);
		n++;
	}
	return n;
}
