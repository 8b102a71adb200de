/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/topology.h"

#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <hwloc/distances.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/attributes.h"

#define KIB 1024ULL

struct topology {
	hwloc_topology_t hw;
	size_t count;
	struct topology_node *nodes;
	struct hwloc_distances_s *distances; /* NULL: nobody says */
};

/* The number at the start of text, which ends with suffix or where nothing more is. */
static bool parse_number(const char *text, const char *suffix, long long *out)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || strncmp(end, suffix, strlen(suffix)) != 0)
		return false;
	*out = value;
	return true;
}

/* The number in a file of /sys; false if it cannot be read. */
static bool read_number(const char *path, long long *out)
{
	FILE *f = fopen(path, "re");
	char line[32];
	bool ok;

	if (!f)
		return false;
	ok = fgets(line, sizeof(line), f) && parse_number(line, "\n", out);
	fclose(f);
	return ok;
}

/* The bytes of one line of meminfo, if it is the one called key: "Node 0 MemFree:   123 kB". */
static uint64_t meminfo_bytes(const char *line, const char *key)
{
	const char *found = strstr(line, key);
	long long kib;

	/* The blank and the colon are part of key: "(file)" is in several names. */
	if (!found || !parse_number(found + strlen(key), " kB", &kib) || kib < 0)
		return 0;
	return (uint64_t)kib * KIB;
}

/*
 * Free is what a strictly bound allocation can get: free pages, and the file cache. The kernel has no
 * MemAvailable per node, but makes the machine's out of the same two.
 */
static void read_memory(struct topology_node *n)
{
	char path[96], line[160];
	uint64_t free_bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", n->node);
	f = fopen(path, "re");
	if (!f) { /* a kernel without NUMA: one node, all free memory is its */
		n->free_bytes =
			(uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		uint64_t total_bytes = meminfo_bytes(line, " MemTotal:");

		if (total_bytes > 0) /* memory can be plugged in and out */
			n->total_bytes = total_bytes;
		free_bytes += meminfo_bytes(line, " MemFree:") +
			      meminfo_bytes(line, " Active(file):") +
			      meminfo_bytes(line, " Inactive(file):");
	}
	fclose(f);
	n->free_bytes = free_bytes < n->total_bytes ? free_bytes : n->total_bytes;
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
		long long kib, total = 0, free_now = 0;

		if (strncmp(e->d_name, "hugepages-", 10) != 0 ||
			!parse_number(e->d_name + 10, "kB", &kib) || kib <= 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/nr_hugepages", dir_path, e->d_name);
		if (!read_number(path, &total) || total < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir_path, e->d_name);
		if (!read_number(path, &free_now) || free_now < 0)
			continue;
		n->huge[n->nhuge++] = (struct topology_huge){ (uint64_t)kib * KIB, (uint64_t)total,
			(uint64_t)free_now };
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

/* Those that this process may use; hwloc lists others too. */
static unsigned count_cpus(hwloc_topology_t hw, hwloc_obj_t node)
{
	hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(hw);
	unsigned cpus = 0, cpu;

	hwloc_bitmap_foreach_begin(cpu, node->cpuset) cpus += hwloc_bitmap_isset(allowed, cpu);
	hwloc_bitmap_foreach_end();
	return cpus;
}

static bool may_use(hwloc_topology_t hw, hwloc_obj_t node)
{
	return node->attr->numanode.local_memory > 0 &&
	       hwloc_bitmap_isset(hwloc_topology_get_allowed_nodeset(hw), node->os_index);
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

		if (!may_use(t->hw, obj))
			continue;
		t->nodes[t->count++] = (struct topology_node){
			.node = obj->os_index,
			.total_bytes = obj->attr->numanode.local_memory,
			.cpus = count_cpus(t->hw, obj),
		};
	}
	qsort(t->nodes, t->count, sizeof(*t->nodes), compare_nodes);
	return t->count > 0 ? 0 : -ENODEV;
}

static int load_hwloc(hwloc_topology_t hw)
{
	errno = 0;
	/* Nodes without memory are disallowed, and how far memory is from them is of interest. */
	if (hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 ||
		hwloc_topology_set_io_types_filter(hw, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) != 0 ||
		hwloc_topology_load(hw) != 0)
		return errno ? -errno : -EIO;
	return 0;
}

static void read_attributes(struct topology *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct topology_node *n = &t->nodes[i];
		hwloc_obj_t obj = hwloc_get_numanode_obj_by_os_index(t->hw, n->node);

		n->bandwidth_mib_s = attributes_bandwidth_mib_s(t->hw, obj);
		n->latency_ns = attributes_latency_ns(t->hw, obj);
	}
}

static void read_distances(struct topology *t)
{
	unsigned n = 1;

	if (hwloc_distances_get_by_name(t->hw, "NUMALatency", &n, &t->distances, 0) != 0 || n == 0)
		t->distances = NULL;
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
	read_attributes(t);
	read_distances(t);
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
	if (t->distances)
		hwloc_distances_release(t->hw, t->distances);
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

/* The node's row in the table of distances; its size if it has none. */
static unsigned row_of(const struct hwloc_distances_s *d, unsigned node)
{
	unsigned i = 0;

	while (i < d->nbobjs && (!d->objs[i] || d->objs[i]->os_index != node))
		i++;
	return i;
}

unsigned topology_distance(const struct topology *t, unsigned from, unsigned to)
{
	const struct hwloc_distances_s *d = t->distances;
	const unsigned row = d ? row_of(d, from) : 0, column = d ? row_of(d, to) : 0;

	if (d && row < d->nbobjs && column < d->nbobjs)
		return (unsigned)d->values[(size_t)row * d->nbobjs + column];
	return from == to ? TOPOLOGY_LOCAL : TOPOLOGY_REMOTE;
}

/* With memory or without. */
static bool has_node(const struct topology *t, long long node)
{
	return node >= 0 && node <= INT_MAX &&
	       hwloc_get_numanode_obj_by_os_index(t->hw, (unsigned)node) != NULL;
}

/* A device hangs below the smallest object it is local to: that must have exactly one node. */
static int node_of_object(const struct topology *t, hwloc_obj_t device)
{
	hwloc_obj_t near = hwloc_get_non_io_ancestor_obj(t->hw, device);
	int node;

	if (!near || !near->nodeset || hwloc_bitmap_weight(near->nodeset) != 1)
		return TOPOLOGY_UNKNOWN;
	node = hwloc_bitmap_first(near->nodeset);
	return has_node(t, node) ? node : TOPOLOGY_UNKNOWN;
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
	if (!read_number(path, &node) || !has_node(t, node))
		return TOPOLOGY_UNKNOWN;
	return (int)node;
}

static int node_of_name(const struct topology *t, const char *name)
{
	hwloc_obj_t device = NULL;
	int node;

	while ((device = hwloc_get_next_osdev(t->hw, device))) {
		if (!device->name || strcmp(device->name, name) != 0)
			continue;
		node = node_of_object(t, device);
		if (node != TOPOLOGY_UNKNOWN)
			return node;
	}
	node = node_in_sysfs(t, "/sys/class/net", name, "device/numa_node");
	if (node == TOPOLOGY_UNKNOWN)
		node = node_in_sysfs(t, "/sys/class/infiniband", name, "device/numa_node");
	return node;
}

/* The network interface that a software RDMA device is made of. */
static bool read_parent(const char *name, char *out, size_t size)
{
	char path[PATH_MAX];
	bool ok;
	FILE *f;

	if (name[0] == '.' || strchr(name, '/') ||
		snprintf(path, sizeof(path), "/sys/class/infiniband/%s/parent", name) >=
			(int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(out, (int)size, f) != NULL;
	fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok;
}

int topology_node_of_device(const struct topology *t, const char *name)
{
	int node = node_of_name(t, name);
	char parent[64];

	if (node == TOPOLOGY_UNKNOWN && hwloc_topology_is_thissystem(t->hw) &&
		read_parent(name, parent, sizeof(parent)))
		node = node_of_name(t, parent);
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
