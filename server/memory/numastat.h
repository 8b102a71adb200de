/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often memory was lent where it was wanted, in the words of numastat(8). Counts allocations; docs/ADMIN.md says what
 * each word means here. Pure.
 */
#ifndef RMEM_SERVER_MEMORY_NUMASTAT_H
#define RMEM_SERVER_MEMORY_NUMASTAT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/memory/ranking.h"

/* Of one node, since the start. */
struct numastat {
	uint64_t numa_hit, numa_miss, numa_foreign, interleave_hit, local_node, other_node;
};

/* An allocation was lent. stats: by node. nic: the node of the session's NIC; RANKING_NOWHERE: unknown. */
void numastat_count(struct numastat stats[ADDR_MAX_NODES], const struct placement *placement,
	const struct ranking *ranking, unsigned node, int nic);

#endif
