/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machines that are not here, for whom memory is not all the same: hwloc's synthetic ones, with attributes of memory
 * added. A test program includes this once, and links hwloc.
 */
#ifndef RMEM_TESTS_MACHINES_H
#define RMEM_TESTS_MACHINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <hwloc.h>
#include <hwloc/memattrs.h>
#include <stdlib.h>
#include <unistd.h>

#include "numa/topology.h"

static inline struct topology *machine_of_file(const char *path)
{
	struct topology *t = NULL;

	assert_int_equal(setenv("HWLOC_XMLFILE", path, 1), 0);
	assert_int_equal(topology_load(&t), 0);
	unsetenv("HWLOC_XMLFILE");
	return t;
}

static inline struct topology *machine(const char *description)
{
	struct topology *t = NULL;

	assert_int_equal(setenv("HWLOC_SYNTHETIC", description, 1), 0);
	assert_int_equal(topology_load(&t), 0);
	unsetenv("HWLOC_SYNTHETIC");
	return t;
}

/* What firmware would say of a node, by its OS index. 0: nothing. */
struct machine_memory {
	unsigned node;
	uint64_t bandwidth_mib_s, latency_ns;
};

static inline void set_value(
	hwloc_topology_t hw, hwloc_obj_t node, hwloc_memattr_id_t attribute, uint64_t value)
{
	struct hwloc_location near = { .type = HWLOC_LOCATION_TYPE_CPUSET,
		.location.cpuset = node->cpuset };

	if (value)
		assert_int_equal(hwloc_memattr_set_value(hw, attribute, node, &near, 0, value), 0);
}

static inline struct topology *machine_with(
	const char *description, const struct machine_memory *memory, size_t n)
{
	char path[] = "/tmp/rmem-machine-XXXXXX";
	const int fd = mkstemp(path);
	struct topology *t;
	hwloc_topology_t hw;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(hwloc_topology_init(&hw), 0);
	assert_int_equal(hwloc_topology_set_synthetic(hw, description), 0);
	assert_int_equal(hwloc_topology_load(hw), 0);
	for (size_t i = 0; i < n; i++) {
		hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(hw, memory[i].node);

		assert_non_null(obj);
		set_value(hw, obj, HWLOC_MEMATTR_ID_BANDWIDTH, memory[i].bandwidth_mib_s);
		set_value(hw, obj, HWLOC_MEMATTR_ID_LATENCY, memory[i].latency_ns);
	}
	assert_int_equal(hwloc_topology_export_xml(hw, path, 0), 0);
	hwloc_topology_destroy(hw);
	t = machine_of_file(path);
	unlink(path);
	return t;
}

#endif
