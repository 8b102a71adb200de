/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/place.h"

#include <errno.h>
#include <hwloc.h>

#include "numa/topology.h"

static int last_error(void)
{
	return errno ? -errno : -EIO;
}

int place_memory(const struct topology *t, unsigned node, void *addr, size_t bytes)
{
	hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(topology_hwloc(t), node);

	if (!obj)
		return -ENODEV;
	errno = 0;
	if (hwloc_set_area_membind(topology_hwloc(t), addr, bytes, obj->nodeset, HWLOC_MEMBIND_BIND,
		    HWLOC_MEMBIND_STRICT | HWLOC_MEMBIND_BYNODESET) != 0)
		return last_error();
	return 0;
}

int place_thread(const struct topology *t, unsigned node)
{
	hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(topology_hwloc(t), node);

	if (!obj || hwloc_bitmap_iszero(obj->cpuset))
		return -ENODEV;
	errno = 0;
	if (hwloc_set_cpubind(topology_hwloc(t), obj->cpuset, HWLOC_CPUBIND_THREAD) != 0)
		return last_error();
	return 0;
}
