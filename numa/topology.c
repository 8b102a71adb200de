/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/topology.h"

#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB 1024ULL

struct topology {
	hwloc_topology_t hw;
	size_t count;
	struct topology_node *nodes;
};

/* The first number in a file of /sys; false if it cannot be read. */
static bool read_number(const char *path, long long *out)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fscanf(f, "%lld", out) == 1;
	fclose(f);
	return ok;
}

/*
 * Free is what a strictly bound allocation can get: free pages, and the file cache. The kernel has
 * no MemAvailable per node, but makes the machine's out of the same two.
 */
static void read_memory(struct topology_node *n)
{
	char path[96], line[160];
	uint64_t free_kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", n->node);
	f = fopen(path, "re");
	if (!f) { /* a kernel without NUMA: one node, all free memory is its */
		n->free_bytes =
			(uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		char key[32];
		uint64_t value;

		if (sscanf(line, "Node %*u %31[^:]: %" SCNu64 " kB", key, &value) != 2)
			continue;
		if (strcmp(key, "MemTotal") == 0) /* memory can be plugged in and out */
			n->total_bytes = value * KIB;
		else if (strcmp(key, "MemFree") == 0 || strcmp(key, "Active(file)") == 0 ||
			 strcmp(key, "Inactive(file)") == 0)
			free_kib += value;
	}
	fclose(f);
	n->free_bytes = free_kib * KIB;
	if (n->free_bytes > n->total_bytes)
		n->free_bytes = n->total_bytes;
}

static int compare_huge(const void *a, const void *b)
{
	const struct topology_huge *x = a, *y = b;

	return (x->page_bytes > y->page_bytes) - (x->page_bytes < y->page_bytes);
}

static void read_huge_pages(struct topology_node *n)
{
	char dir_path[96];
	struct dirent *e;
	DIR *dir;

	n->nhuge = 0;
	snprintf(dir_path, sizeof(dir_path), "/sys/devices/system/node/node%u/hugepages", n->node);
	dir = opendir(dir_path);
	if (!dir)
		return;
	while (n->nhuge < TOPOLOGY_HUGE_SIZES && (e = readdir(dir))) {
		char path[PATH_MAX];
		uint64_t kib;
		long long total = 0, free_now = 0;

		if (sscanf(e->d_name, "hugepages-%" SCNu64 "kB", &kib) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/%s/nr_hugepages", dir_path, e->d_name);
		if (!read_number(path, &total) || total < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir_path, e->d_name);
		if (!read_number(path, &free_now) || free_now < 0)
			continue;
		n->huge[n->nhuge++] =
			(struct topology_huge){ kib * KIB, (uint64_t)total, (uint64_t)free_now };
	}
	closedir(dir);
	qsort(n->huge, n->nhuge, sizeof(n->huge[0]), compare_huge);
}

/* Another machine's topology: what is there counts as free. */
static void assume_all_free(struct topology_node *n, hwloc_obj_t obj)
{
	const struct hwloc_numanode_attr_s *attr = &obj->attr->numanode;

	n->free_bytes = n->total_bytes;
	n->nhuge = 0;
	for (unsigned i = 0; i < attr->page_types_len && n->nhuge < TOPOLOGY_HUGE_SIZES; i++) {
		uint64_t size = attr->page_types[i].size;

		if (size > (uint64_t)sysconf(_SC_PAGESIZE))
			n->huge[n->nhuge++] = (struct topology_huge){ size,
				attr->page_types[i].count, attr->page_types[i].count };
	}
	qsort(n->huge, n->nhuge, sizeof(n->huge[0]), compare_huge);
}

void topology_refresh(struct topology *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct topology_node *n = &t->nodes[i];

		if (hwloc_topology_is_thissystem(t->hw)) {
			read_memory(n);
			read_huge_pages(n);
		} else {
			assume_all_free(n, hwloc_get_numanode_obj_by_os_index(t->hw, n->node));
		}
	}
}

static int compare_nodes(const void *a, const void *b)
{
	const struct topology_node *x = a, *y = b;

	return (x->node > y->node) - (x->node < y->node);
}

static int collect_nodes(struct topology *t)
{
	int n = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_NUMANODE);

	if (n <= 0)
		return -ENODEV;
	t->nodes = calloc((size_t)n, sizeof(*t->nodes));
	if (!t->nodes)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		hwloc_obj_t obj = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_NUMANODE, (unsigned)i);

		if (obj->attr->numanode.local_memory == 0)
			continue;
		t->nodes[t->count++] = (struct topology_node){
			.node = obj->os_index,
			.total_bytes = obj->attr->numanode.local_memory,
			.cpus = (unsigned)hwloc_bitmap_weight(obj->cpuset),
		};
	}
	qsort(t->nodes, t->count, sizeof(*t->nodes), compare_nodes);
	return t->count > 0 ? 0 : -ENODEV;
}

static int load_hwloc(hwloc_topology_t hw)
{
	errno = 0;
	if (hwloc_topology_set_io_types_filter(hw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) != 0 ||
		hwloc_topology_load(hw) != 0)
		return errno ? -errno : -EIO;
	return 0;
}

int topology_load(struct topology **out)
{
	struct topology *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	if (hwloc_topology_init(&t->hw) != 0) {
		t->hw = NULL;
		err = -ENOMEM;
		goto fail;
	}
	err = load_hwloc(t->hw);
	if (err)
		goto fail;
	err = collect_nodes(t);
	if (err)
		goto fail;
	topology_refresh(t);
	*out = t;
	return 0;
fail:
	topology_destroy(t);
	return err;
}

void topology_destroy(struct topology *t)
{
	if (!t)
		return;
	if (t->hw)
		hwloc_topology_destroy(t->hw);
	free(t->nodes);
	free(t);
}

size_t topology_count(const struct topology *t)
{
	return t->count;
}

const struct topology_node *topology_at(const struct topology *t, size_t i)
{
	return &t->nodes[i];
}

const struct topology_node *topology_find(const struct topology *t, unsigned node)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->nodes[i].node == node)
			return &t->nodes[i];
	}
	return NULL;
}

struct hwloc_topology *topology_hwloc(const struct topology *t)
{
	return t->hw;
}

/* A device hangs below the smallest object it is local to: that must have exactly one node. */
static int node_of_object(const struct topology *t, hwloc_obj_t device)
{
	hwloc_obj_t near = hwloc_get_non_io_ancestor_obj(t->hw, device);
	int node;

	if (!near || !near->nodeset || hwloc_bitmap_weight(near->nodeset) != 1)
		return TOPOLOGY_UNKNOWN;
	node = hwloc_bitmap_first(near->nodeset);
	return topology_find(t, (unsigned)node) ? node : TOPOLOGY_UNKNOWN;
}

/* The kernel's own word, in DIR/NAME/LEAF; -1 there means that it does not know either. */
static int node_in_sysfs(
	const struct topology *t, const char *dir, const char *name, const char *leaf)
{
	char path[PATH_MAX];
	long long node;

	/* A name is one path component: anything else could lead elsewhere. */
	if (!hwloc_topology_is_thissystem(t->hw) || name[0] == '\0' || name[0] == '.' ||
		strchr(name, '/'))
		return TOPOLOGY_UNKNOWN;
	if (snprintf(path, sizeof(path), "%s/%s/%s", dir, name, leaf) >= (int)sizeof(path))
		return TOPOLOGY_UNKNOWN;
	if (!read_number(path, &node) || node < 0 || node > INT_MAX ||
		!topology_find(t, (unsigned)node))
		return TOPOLOGY_UNKNOWN;
	return (int)node;
}

int topology_node_of_device(const struct topology *t, const char *name)
{
	hwloc_obj_t device = NULL;
	int node;

	while ((device = hwloc_get_next_osdev(t->hw, device))) {
		if (device->name && strcmp(device->name, name) == 0) {
			node = node_of_object(t, device);
			if (node != TOPOLOGY_UNKNOWN)
				return node;
		}
	}
	node = node_in_sysfs(t, "/sys/class/net", name, "device/numa_node");
	if (node == TOPOLOGY_UNKNOWN)
		node = node_in_sysfs(t, "/sys/class/infiniband", name, "device/numa_node");
	return node;
}

int topology_node_of_pci(const struct topology *t, const char *address)
{
	hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(t->hw, address);
	int node = device ? node_of_object(t, device) : TOPOLOGY_UNKNOWN;

	if (node == TOPOLOGY_UNKNOWN)
		node = node_in_sysfs(t, "/sys/bus/pci/devices", address, "numa_node");
	return node;
}
