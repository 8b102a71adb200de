/* SPDX-License-Identifier: BSD-3-Clause */
/* What each node's memory is good for: read from hwloc's memory attributes when a topology is loaded. */
#ifndef RMEM_NUMA_ATTRIBUTES_H
#define RMEM_NUMA_ATTRIBUTES_H

#include <hwloc.h>

#include "numa/topology.h"

/* Sets bandwidth_mib_s, latency_ns and neighbours of all nodes. */
void attributes_read(hwloc_topology_t hw, struct topology_node *nodes, size_t count);

#endif
