/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine's NUMA nodes as hwloc sees them, with what hwloc does not tell: how much is free now.
 *
 * Only nodes that have memory and that this process may use (cpusets) are listed, by OS index. With
 * HWLOC_SYNTHETIC or HWLOC_XMLFILE set the topology is another machine's: everything on it counts
 * as free, nothing is read from /sys, and binding does nothing. That is how this is tested.
 *
 * Any thread may read; topology_refresh() wants the topology for itself.
 */
#ifndef RMEM_NUMA_TOPOLOGY_H
#define RMEM_NUMA_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOPOLOGY_UNKNOWN (-1)
#define TOPOLOGY_HUGE_SIZES 4 /* no architecture has more */
#define TOPOLOGY_LOCAL 10     /* the distance of a node from itself, as ACPI has it */
#define TOPOLOGY_REMOTE 20    /* from another, if nobody says how far it is */

struct topology_huge {
	uint64_t page_bytes;
	uint64_t total_pages;
	uint64_t free_pages;
};

struct topology_node {
	unsigned node; /* OS index: what move_pages(2), numactl and /sys call it */
	uint64_t total_bytes;
	uint64_t free_bytes; /* free, or file cache that the kernel gives up when asked */
	unsigned cpus;       /* near it; 0: a node of memory only */
	/* As the CPUs that are nearest find it; 0: the firmware does not say (ACPI HMAT). */
	uint64_t bandwidth_mib_s, latency_ns;
	size_t nhuge;
	struct topology_huge huge[TOPOLOGY_HUGE_SIZES]; /* by page size; none: no huge pages */
};

struct topology;
struct hwloc_topology;

/* -ENODEV when no node has memory, -ENOMEM, or what hwloc ran into. */
int topology_load(struct topology **out);
void topology_destroy(struct topology *t); /* NULL is fine */

/* Read again what is free. */
void topology_refresh(struct topology *t);

size_t topology_count(const struct topology *t);
const struct topology_node *topology_at(const struct topology *t, size_t i);        /* i < count */
const struct topology_node *topology_find(const struct topology *t, unsigned node); /* or NULL */

/* How far memory of node to is from node from, in ACPI's unit. Either may have no memory. */
unsigned topology_distance(const struct topology *t, unsigned from, unsigned to);

/*
 * The node that a device is attached to, by the name of its network interface or RDMA device, or by
 * PCI address ("0000:3b:00.0"); it may have no memory. TOPOLOGY_UNKNOWN whenever there is doubt: no such device, no PCI
 * parent (soft-RoCE over a virtual interface), or attached to more than one node.
 */
int topology_node_of_device(const struct topology *t, const char *name);
int topology_node_of_pci(const struct topology *t, const char *address);

struct hwloc_topology *topology_hwloc(const struct topology *t); /* for place.c */

#endif
