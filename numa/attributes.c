/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/attributes.h"

#include <hwloc/memattrs.h>

static uint64_t best_value(hwloc_topology_t hw, hwloc_obj_t node, hwloc_memattr_id_t attribute)
{
	struct hwloc_location initiator;
	hwloc_uint64_t value;

	if (hwloc_memattr_get_best_initiator(hw, attribute, node, 0, &initiator, &value) != 0)
		return 0;
	return value;
}

/* Firmware tells of accesses in general, or of reads and writes apart. */
static uint64_t value_of(
	hwloc_topology_t hw, hwloc_obj_t node, hwloc_memattr_id_t access, hwloc_memattr_id_t read)
{
	const uint64_t value = best_value(hw, node, access);

	return value ? value : best_value(hw, node, read);
}

uint64_t attributes_bandwidth_mib_s(hwloc_topology_t hw, hwloc_obj_t node)
{
	return value_of(hw, node, HWLOC_MEMATTR_ID_BANDWIDTH, HWLOC_MEMATTR_ID_READ_BANDWIDTH);
}

uint64_t attributes_latency_ns(hwloc_topology_t hw, hwloc_obj_t node)
{
	return value_of(hw, node, HWLOC_MEMATTR_ID_LATENCY, HWLOC_MEMATTR_ID_READ_LATENCY);
}
