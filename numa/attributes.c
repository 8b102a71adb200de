/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/attributes.h"

#include <hwloc/memattrs.h>
#include <stdbool.h>

/* The value for the CPUs from which it is best; 0: nobody says. */
static uint64_t best_value(hwloc_topology_t hw, hwloc_obj_t node, hwloc_memattr_id_t attribute)
{
	struct hwloc_location initiator;
	hwloc_uint64_t value;

	if (hwloc_memattr_get_best_initiator(hw, attribute, node, 0, &initiator, &value) != 0)
		return 0;
	return value;
}

/* Firmware tells of accesses in general, or of reads and writes apart; reads are mostly told of then. */
static uint64_t value_of(
	hwloc_topology_t hw, hwloc_obj_t node, hwloc_memattr_id_t access, hwloc_memattr_id_t read)
{
	const uint64_t value = best_value(hw, node, access);

	return value ? value : best_value(hw, node, read);
}

/* Do the same CPUs find both nearby? Memory of which no CPU is known to be near is near to all. */
static bool share_cpus(hwloc_obj_t a, hwloc_obj_t b)
{
	return hwloc_bitmap_iszero(a->cpuset) || hwloc_bitmap_iszero(b->cpuset) ||
	       hwloc_bitmap_intersects(a->cpuset, b->cpuset);
}

static uint64_t neighbours_of(
	hwloc_topology_t hw, hwloc_obj_t obj, const struct topology_node *nodes, size_t count)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < count; i++) {
		hwloc_obj_t other = hwloc_get_numanode_obj_by_os_index(hw, nodes[i].node);

		if (nodes[i].node < TOPOLOGY_MASK_NODES && share_cpus(obj, other))
			mask |= 1ULL << nodes[i].node;
	}
	return mask;
}

void attributes_read(hwloc_topology_t hw, struct topology_node *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(hw, nodes[i].node);

		nodes[i].bandwidth_mib_s = value_of(
			hw, obj, HWLOC_MEMATTR_ID_BANDWIDTH, HWLOC_MEMATTR_ID_READ_BANDWIDTH);
		nodes[i].latency_ns =
			value_of(hw, obj, HWLOC_MEMATTR_ID_LATENCY, HWLOC_MEMATTR_ID_READ_LATENCY);
		nodes[i].neighbours = neighbours_of(hw, obj, nodes, count);
	}
}
