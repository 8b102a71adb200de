/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "numa/topology.h"
#include "server/memory/arena.h"
#include "server/memory/cgroup.h"

static uint64_t round_down(uint64_t bytes, uint64_t unit)
{
	return bytes - bytes % unit;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * May this process lock memory without limit? The kernel checks memory that the NIC pins against CAP_IPC_LOCK in the
 * initial user namespace, so the root user of a container's own namespace does not count.
 */
static bool can_lock_all(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	char map[64], *p = map;
	bool initial;
	FILE *f;

	if (syscall(SYS_capget, &header, caps) != 0 ||
		!(caps[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)))
		return false;
	f = fopen("/proc/self/uid_map", "re");
	if (!f)
		return true; /* a kernel without user namespaces */
	/* The initial namespace maps every id to itself: "0 0 4294967295". */
	initial = fgets(map, sizeof(map), f) && strtoul(p, &p, 10) == 0 &&
		  strtoul(p, &p, 10) == 0 && strtoul(p, &p, 10) == UINT32_MAX;
	fclose(f);
	return initial;
}

static int read_memlock(struct limits *l, struct errinfo *errinfo)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return errinfo_set(
			errinfo, -errno, "cannot read RLIMIT_MEMLOCK: %s", strerror(errno));
	l->memlock_soft_bytes = limit.rlim_cur == RLIM_INFINITY ? LIMITS_NONE : limit.rlim_cur;
	l->memlock_hard_bytes = limit.rlim_max == RLIM_INFINITY ? LIMITS_NONE : limit.rlim_max;
	if (can_lock_all())
		l->memlock_soft_bytes = l->memlock_hard_bytes = LIMITS_NONE;
	return 0;
}

static void add_file(void *arg, const struct arena_entry *entry)
{
	struct limits *l = arg;

	if (!entry->pool) /* from before pools had ids: cannot be opened */
		return;
	l->files[entry->node].bytes += entry->bytes;
	l->files[entry->node].held_bytes += entry->held_bytes;
}

int limits_read(int data_dir, struct limits *out, struct errinfo *errinfo)
{
	struct limits l = { 0 };
	struct statvfs fs;
	int err;

	err = arena_page_bytes(data_dir, &l.page_bytes, &l.huge, errinfo);
	if (err)
		return err;
	if (fstatvfs(data_dir, &fs) != 0)
		return errinfo_set(
			errinfo, -errno, "cannot examine the data directory: %s", strerror(errno));
	/* Both file systems report 0 blocks when mounted without a size limit. */
	l.fs_free_bytes = fs.f_blocks == 0 ? LIMITS_NONE : (uint64_t)fs.f_bavail * fs.f_frsize;
	l.cgroup_free_bytes = cgroup_free_bytes();
	err = arena_scan(data_dir, add_file, &l);
	if (err)
		return errinfo_set(
			errinfo, err, "cannot list the data directory: %s", strerror(-err));
	err = read_memlock(&l, errinfo);
	if (err)
		return err;
	*out = l;
	return 0;
}

/* Free memory for a node's arena: ordinary pages, or huge pages of the directory's page size. */
static uint64_t node_free_bytes(const struct limits *l, const struct topology_node *n)
{
	if (!l->huge)
		return n->free_bytes;
	for (size_t i = 0; i < n->nhuge; i++) {
		if (n->huge[i].page_bytes == l->page_bytes)
			return n->huge[i].free_pages * l->page_bytes;
	}
	return 0;
}

/* An arena of an earlier run can be opened only with its own size. */
static void sizes_of_files(const struct topology *t, const struct limits *l, struct sizes *s)
{
	for (size_t i = 0; i < sizes_usable_nodes(t); i++) {
		unsigned node = topology_at(t, i)->node;

		if (l->files[node].bytes > 0)
			s->nodes[s->count++] = (struct sizes_node){ node, l->files[node].bytes };
	}
}

static uint64_t default_bytes(const struct limits *l, const struct topology_node *n, size_t nnodes)
{
	uint64_t align = max_u64(l->page_bytes, LIMITS_ALIGN_BYTES);
	uint64_t bytes = node_free_bytes(l, n);

	if (!l->huge)
		bytes /= 4;
	if (l->fs_free_bytes != LIMITS_NONE)
		bytes = min_u64(bytes, l->fs_free_bytes / 2 / nnodes);
	if (!l->huge && l->cgroup_free_bytes != LIMITS_NONE)
		bytes = min_u64(bytes, l->cgroup_free_bytes / 2 / nnodes);
	if (l->memlock_hard_bytes != LIMITS_NONE)
		bytes = min_u64(
			bytes, l->memlock_hard_bytes > LIMITS_MEMLOCK_EXTRA
				       ? (l->memlock_hard_bytes - LIMITS_MEMLOCK_EXTRA) / nnodes
				       : 0);
	bytes = round_down(min_u64(bytes, SIZES_NODE_MAX_BYTES), align);
	return max_u64(bytes, max_u64(LIMITS_NODE_MIN_BYTES, align));
}

/* Nodes with a free page; limits on the total are shared evenly. */
static void sizes_of_nodes(const struct topology *t, const struct limits *l, struct sizes *s)
{
	for (size_t i = 0; i < sizes_usable_nodes(t); i++) {
		const struct topology_node *n = topology_at(t, i);

		if (node_free_bytes(l, n) >= l->page_bytes)
			s->nodes[s->count++].node = n->node;
	}
	for (size_t i = 0; i < s->count; i++)
		s->nodes[i].bytes = default_bytes(l, topology_find(t, s->nodes[i].node), s->count);
}

int sizes_default(const struct topology *t, const struct limits *l, struct sizes *out,
	struct errinfo *errinfo)
{
	struct sizes s = { 0 };

	sizes_of_files(t, l, &s);
	if (s.count == 0)
		sizes_of_nodes(t, l, &s);
	if (s.count == 0)
		return errinfo_set(errinfo, -ENODEV, "no NUMA node has %s free",
			l->huge ? "huge pages of the data directory's size" : "memory");
	*out = s;
	return 0;
}

static int check_node(const struct topology *t, const struct limits *l, const struct sizes_node *s,
	struct errinfo *errinfo)
{
	const struct topology_node *n = s->node < ADDR_MAX_NODES ? topology_find(t, s->node) : NULL;
	char want[UNITS_TEXT_SIZE], have[UNITS_TEXT_SIZE], page[UNITS_TEXT_SIZE];
	uint64_t free_bytes;

	if (!n)
		return sizes_no_such_node(t, s->node, errinfo);
	units_format_bytes(s->bytes, want, sizeof(want));
	if (s->bytes > n->total_bytes)
		return errinfo_set(errinfo, -ENOMEM,
			"node %u has %s of memory in all, but is to lend %s: use a smaller --size",
			s->node, units_format_bytes(n->total_bytes, have, sizeof(have)), want);
	free_bytes = node_free_bytes(l, n) + l->files[s->node].held_bytes;
	if (s->bytes <= free_bytes)
		return 0;
	units_format_bytes(free_bytes, have, sizeof(have));
	if (!l->huge)
		return errinfo_set(errinfo, -ENOMEM,
			"node %u has %s of free memory, but is to lend %s: use a smaller --size, "
			"or --size NODE:SIZE,... to choose per node",
			s->node, have, want);
	return errinfo_set(errinfo, -ENOMEM,
		"node %u has %s in free huge pages of %s, but is to lend %s: use a smaller --size, "
		"or write a larger number to "
		"/sys/devices/system/node/node%u/hugepages/hugepages-%llukB/nr_hugepages",
		s->node, have, units_format_bytes(l->page_bytes, page, sizeof(page)), want, s->node,
		(unsigned long long)(l->page_bytes / KIB));
}

static uint64_t memlock_needed(const struct sizes *s, unsigned connections)
{
	return sizes_total(s) + connections * LIMITS_CONNECTION_BYTES;
}

int limits_check(const struct topology *t, const struct limits *l, const struct sizes *s,
	struct errinfo *errinfo)
{
	char want[UNITS_TEXT_SIZE], have[UNITS_TEXT_SIZE], pool[UNITS_TEXT_SIZE];
	char extra[UNITS_TEXT_SIZE];
	uint64_t fresh = 0; /* bytes that are still to be allocated */

	for (size_t i = 0; i < s->count; i++) {
		int err = check_node(t, l, &s->nodes[i], errinfo);
		uint64_t held;

		if (err)
			return err;
		held = l->files[s->nodes[i].node].held_bytes;
		fresh += s->nodes[i].bytes - min_u64(held, s->nodes[i].bytes);
	}
	if (fresh > l->fs_free_bytes)
		return errinfo_set(errinfo, -ENOSPC,
			"the data directory's file system has %s free, the pool needs %s there: "
			"use a smaller --size, another --data, or enlarge it (mount -o "
			"remount,size=...)",
			units_format_bytes(l->fs_free_bytes, have, sizeof(have)),
			units_format_bytes(fresh, want, sizeof(want)));
	if (!l->huge && fresh > l->cgroup_free_bytes)
		return errinfo_set(errinfo, -ENOMEM,
			"this service's control group has %s left of its memory limit, the pool "
			"needs %s: use a smaller --size, or raise MemoryMax= in the unit "
			"(memory.max)",
			units_format_bytes(l->cgroup_free_bytes, have, sizeof(have)),
			units_format_bytes(fresh, want, sizeof(want)));
	if (memlock_needed(s, LIMITS_CONNECTIONS_MIN) > l->memlock_hard_bytes)
		return errinfo_set(errinfo, -EPERM,
			"RLIMIT_MEMLOCK is %s, but %s have to be locked, the "
			"pool of %s, and %s for %u connections: raise it (`ulimit -l unlimited`, "
			"memlock in /etc/security/limits.conf, LimitMEMLOCK=infinity in the unit), "
			"run as root, or use a smaller --size",
			units_format_bytes(l->memlock_hard_bytes, have, sizeof(have)),
			units_format_bytes(
				memlock_needed(s, LIMITS_CONNECTIONS_MIN), want, sizeof(want)),
			units_format_bytes(sizes_total(s), pool, sizeof(pool)),
			units_format_bytes(LIMITS_MEMLOCK_EXTRA, extra, sizeof(extra)),
			LIMITS_CONNECTIONS_MIN);
	return 0;
}

int limits_raise_memlock(const struct limits *l, const struct sizes *s, unsigned connections,
	struct errinfo *errinfo)
{
	struct rlimit limit;

	if (memlock_needed(s, connections) <= l->memlock_soft_bytes)
		return 0;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return errinfo_set(
			errinfo, -errno, "cannot read RLIMIT_MEMLOCK: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return errinfo_set(errinfo, -errno,
			"cannot raise RLIMIT_MEMLOCK to its hard limit: %s", strerror(errno));
	return 0;
}

bool limits_warn_connections(const struct limits *l, const struct sizes *s, unsigned connections,
	struct errinfo *warning)
{
	const uint64_t pool_bytes = sizes_total(s), needed = memlock_needed(s, connections);
	char have[UNITS_TEXT_SIZE], pool[UNITS_TEXT_SIZE], each[UNITS_TEXT_SIZE];
	char want[UNITS_TEXT_SIZE];
	uint64_t left = 0;

	if (needed <= l->memlock_hard_bytes)
		return false;
	if (l->memlock_hard_bytes > pool_bytes)
		left = l->memlock_hard_bytes - pool_bytes;
	errinfo_fill(warning,
		"RLIMIT_MEMLOCK is %s: beside the pool of %s that is enough for %llu connections "
		"of "
		"%s each, but rmemd accepts %u. A client beyond that is turned away. If there may "
		"be "
		"so many, raise it to %s (`ulimit -l`, in KiB: %llu; memlock in "
		"/etc/security/limits.conf; LimitMEMLOCK= in the unit)",
		units_format_bytes(l->memlock_hard_bytes, have, sizeof(have)),
		units_format_bytes(pool_bytes, pool, sizeof(pool)),
		(unsigned long long)(left / LIMITS_CONNECTION_BYTES),
		units_format_bytes(LIMITS_CONNECTION_BYTES, each, sizeof(each)), connections,
		units_format_bytes(needed, want, sizeof(want)),
		(unsigned long long)((needed + KIB - 1) / KIB));
	return true;
}
