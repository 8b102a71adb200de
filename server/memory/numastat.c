/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/numastat.h"

static bool is_wanted(const struct ranking *r, unsigned node)
{
	unsigned i = 0;

	while (i < r->wanted && r->nodes[i] != node)
		i++;
	return i < r->wanted;
}

void numastat_count(struct numastat stats[ADDR_MAX_NODES], const struct placement *placement,
	const struct ranking *ranking, unsigned node, int nic)
{
	struct numastat *here = &stats[node];

	if (is_wanted(ranking, node)) {
		here->numa_hit++;
		if ((placement->policy & ~PLACEMENT_STRICT) == PLACEMENT_INTERLEAVE)
			here->interleave_hit++;
	} else {
		here->numa_miss++;
		stats[ranking->nodes[0]].numa_foreign++;
	}
	if (nic == (int)node)
		here->local_node++;
	else if (nic != RANKING_NOWHERE)
		here->other_node++;
}
