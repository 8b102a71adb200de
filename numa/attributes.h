/* SPDX-License-Identifier: BSD-3-Clause */
/* What a node's memory is good for, from hwloc's memory attributes. Any thread. */
#ifndef RMEM_NUMA_ATTRIBUTES_H
#define RMEM_NUMA_ATTRIBUTES_H

#include <hwloc.h>
#include <stdint.h>

/* For the CPUs that find it best; 0: the firmware does not say. */
uint64_t attributes_bandwidth_mib_s(hwloc_topology_t hw, hwloc_obj_t node);
uint64_t attributes_latency_ns(hwloc_topology_t hw, hwloc_obj_t node);

#endif
