/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/place.h"

#include <errno.h>
#include <hwloc.h>
#include <stdbool.h>

#include "numa/topology.h"

static int last_error(void)
{
	return errno ? -errno : -EIO;
}

/* A kernel without NUMA has no mbind(2), and a container may forbid it: where there is one node, that is where memory is. */
static bool is_bound_anyway(const struct topology *t, int err)
{
	return (err == -ENOSYS || err == -EPERM) && topology_count(t) == 1;
}

int place_memory(const struct topology *t, unsigned node, void *addr, size_t bytes)
{
	hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(topology_hwloc(t), node);
	int err = 0;

	if (!obj)
		return -ENODEV;
	errno = 0;
	if (hwloc_set_area_membind(topology_hwloc(t), addr, bytes, obj->nodeset, HWLOC_MEMBIND_BIND,
		    HWLOC_MEMBIND_STRICT | HWLOC_MEMBIND_BYNODESET) != 0)
		err = last_error();
	return is_bound_anyway(t, err) ? 0 : err;
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
