/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/arena.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/denial.h"
#include "common/units.h"
#include "numa/place.h"
#include "numa/topology.h"

int arena_page_bytes(int data_dir, uint64_t *out_bytes, bool *out_huge, struct errinfo *errinfo)
{
	struct statfs fs;

	if (fstatfs(data_dir, &fs) != 0)
		return errinfo_set(
			errinfo, -errno, "cannot examine the data directory: %s", strerror(errno));
	switch ((unsigned long)fs.f_type) {
	case TMPFS_MAGIC:
		*out_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
		break;
	case HUGETLBFS_MAGIC:
		*out_bytes = (uint64_t)fs.f_bsize; /* huge page size, never 0 */
		break;
	default:
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"the data directory is on neither tmpfs nor hugetlbfs, and only their "
			"files can be lent to a network card: choose another one, such as "
			"/dev/shm/rmemd");
	}
	if (out_huge)
		*out_huge = (unsigned long)fs.f_type == HUGETLBFS_MAGIC;
	return 0;
}

const char *arena_name(unsigned segment, unsigned node, uint64_t pool, char buf[ARENA_NAME_SIZE])
{
	if (segment == node)
		snprintf(buf, ARENA_NAME_SIZE, "arena-%u-%016" PRIx64, node, pool);
	else
		snprintf(buf, ARENA_NAME_SIZE, "arena-%u-%u-%016" PRIx64, segment, node, pool);
	return buf;
}

/* The number behind a dash. What stands there besides is found when the name is made again. */
static uint64_t read_number(const char **at, int base)
{
	const char *dash = strchr(*at, '-');
	char *end = NULL;
	uint64_t number;

	if (!dash)
		return UINT64_MAX;
	number = strtoull(dash + 1, &end, base);
	*at = end;
	return number;
}

/* Accept exactly the names that arena_name() makes, and "arena-NODE" from before pools had ids. */
static bool parse_name(struct arena_entry *entry)
{
	char again[ARENA_NAME_SIZE];
	const char *at = entry->name;
	uint64_t node, segment, pool = 0;
	unsigned dashes = 0;

	for (const char *c = at; *c; c++)
		dashes += *c == '-';
	segment = node = read_number(&at, 10);
	if (dashes == 3)
		node = read_number(&at, 10);
	if (dashes > 1)
		pool = read_number(&at, 16);
	if (segment >= SEGMENTS_MAX || node >= ADDR_MAX_NODES)
		return false;
	entry->segment = (unsigned)segment;
	entry->node = (unsigned)node;
	entry->pool = pool;
	if (dashes == 1)
		snprintf(again, sizeof(again), "arena-%u", entry->node);
	else
		arena_name(entry->segment, entry->node, pool, again);
	return strcmp(again, entry->name) == 0;
}

int arena_scan(int data_dir, void (*found)(void *arg, const struct arena_entry *entry), void *arg)
{
	int fd = openat(data_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *file;
	int err = list ? 0 : -errno;

	while (list && (file = readdir(list)) != NULL) {
		struct arena_entry entry = { .name = file->d_name };
		struct stat st;

		if (!parse_name(&entry) ||
			fstatat(data_dir, entry.name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		entry.bytes = (uint64_t)st.st_size;
		entry.held_bytes = (uint64_t)st.st_blocks * 512;
		found(arg, &entry);
	}
	if (list)
		closedir(list);
	else if (fd >= 0)
		close(fd);
	return err;
}

static int check_config(const struct arena_config *c, uint64_t page_bytes, struct errinfo *errinfo)
{
	char page[UNITS_TEXT_SIZE], size[UNITS_TEXT_SIZE];

	if (c->segment >= SEGMENTS_MAX || c->node >= ADDR_MAX_NODES ||
		!topology_find(c->topology, c->node))
		return errinfo_set(errinfo, -ENODEV,
			"there is no NUMA node %u that has memory for us", c->node);
	if (c->bytes > ADDR_OFFSET_MASK + 1)
		return errinfo_set(errinfo, -EINVAL,
			"node %u: %s is more than the %s that one segment can have", c->node,
			units_format_bytes(c->bytes, size, sizeof(size)),
			units_format_bytes(ADDR_OFFSET_MASK + 1, page, sizeof(page)));
	if (c->bytes == 0 || (c->bytes & (page_bytes - 1)) != 0)
		return errinfo_set(errinfo, -EINVAL,
			"node %u: a size of %" PRIu64
			" bytes is not a multiple of the data directory's pages of %s",
			c->node, c->bytes, units_format_bytes(page_bytes, page, sizeof(page)));
	return 0;
}

/* Open or create the file. Set a->created only after locking, so no other process's file is ever removed. */
static int open_file(struct arena *a, int data_dir, const char *name, struct errinfo *errinfo)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
	bool created = true;

	a->fd = openat(data_dir, name, flags | O_CREAT | O_EXCL, 0600);
	if (a->fd < 0 && errno == EEXIST) {
		created = false;
		a->fd = openat(data_dir, name, flags);
	}
	if (a->fd < 0)
		return errinfo_set(errinfo, -errno, "cannot open %s in the data directory: %s",
			name, strerror(errno));
	if (flock(a->fd, LOCK_EX | LOCK_NB) != 0)
		return errinfo_set(errinfo, errno == EWOULDBLOCK ? -EBUSY : -errno,
			"%s is in use: another rmemd runs with this data directory; give this one "
			"its own (--data)",
			name);
	a->created = created;
	return 0;
}

/* Give a new file its size; check the size of an existing one. */
static int size_file(struct arena *a, const char *name, struct errinfo *errinfo)
{
	char have[UNITS_TEXT_SIZE], want[UNITS_TEXT_SIZE], doing[ARENA_NAME_SIZE + 8];
	struct stat st;

	if (fstat(a->fd, &st) != 0)
		return errinfo_set(errinfo, -errno, "cannot examine %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return errinfo_set(errinfo, -EPERM,
			"%s in the data directory is not a file of user %u: remove it, or use "
			"another directory",
			name, (unsigned)geteuid());
	if (st.st_size == 0) { /* new, or its creator was killed before ftruncate() */
		a->created = true;
		if (ftruncate(a->fd, (off_t)a->bytes) == 0)
			return 0;
		snprintf(doing, sizeof(doing), "sizing %s", name);
		return denial_explain(DENIED_FILE, -errno, doing, errinfo);
	}
	if ((uint64_t)st.st_size != a->bytes)
		return errinfo_set(errinfo, -EEXIST,
			"%s in the data directory holds %s from an earlier run, but %s are wanted: "
			"start without --size, which takes the sizes of the earlier run",
			name, units_format_bytes((uint64_t)st.st_size, have, sizeof(have)),
			units_format_bytes(a->bytes, want, sizeof(want)));
	return 0;
}

static int explain(
	int err, const char *doing, const char *size, unsigned node, struct errinfo *errinfo)
{
	char text[96];

	snprintf(text, sizeof(text), "%s %s of NUMA node %u", doing, size, node);
	return denial_explain(DENIED_CALL, err, text, errinfo);
}

static int map_file(struct arena *a, const struct topology *t, bool huge, struct errinfo *errinfo)
{
	char size[UNITS_TEXT_SIZE];
	void *map;
	int err;

	units_format_bytes(a->bytes, size, sizeof(size));
	map = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	if (map == MAP_FAILED && huge && errno == ENOMEM)
		return errinfo_set(errinfo, -ENOMEM,
			"there are not enough free huge pages for node %u's %s: make more "
			"(/sys/devices/system/node/node%u/hugepages/), or use a smaller --size",
			a->node, size, a->node);
	if (map == MAP_FAILED)
		return explain(-errno, "mapping", size, a->node, errinfo);
	a->base = map;
	err = place_memory(t, a->node, map, a->bytes);
	if (err)
		return explain(err, "mbind, for", size, a->node, errinfo);
	/* Fewer TLB misses in NIC and CPU if the mount allows huge pages (huge=advise). */
	if (!huge)
		(void)madvise(map, a->bytes, MADV_HUGEPAGE);
	return 0;
}

int arena_populate(const struct arena *a, const struct topology *t, prefault_progress *progress,
	void *progress_arg, struct errinfo *errinfo)
{
	const bool huge = a->page_bytes > (uint64_t)sysconf(_SC_PAGESIZE);
	char size[UNITS_TEXT_SIZE];
	int err = prefault_range(
		t, a->node, a->base, a->bytes, a->page_bytes, progress, progress_arg);

	units_format_bytes(a->bytes, size, sizeof(size));
	switch (err) {
	case 0:
		return 0;
	case -ECANCELED:
		return errinfo_set(errinfo, err, "stopped while %s of node %u was being made ready",
			size, a->node);
	case -ENOSPC:
		if (huge)
			return errinfo_set(errinfo, err,
				"node %u ran out of free huge pages for its %s: make more "
				"(/sys/devices/system/node/node%u/hugepages/), or use a smaller "
				"--size",
				a->node, size, a->node);
		return errinfo_set(errinfo, err,
			"the data directory's tmpfs filled up before node %u had its %s: enlarge "
			"it (mount -o remount,size=...), or use a smaller --size",
			a->node, size);
	case -ENOMEM:
		return errinfo_set(errinfo, err,
			"node %u, or this service's memory limit, ran out of memory before it had "
			"its %s: use a smaller --size",
			a->node, size);
	case -EINVAL:
		return errinfo_set(errinfo, err,
			"this kernel cannot populate memory (MADV_POPULATE_WRITE): Linux 5.14 or "
			"newer is needed");
	case -EAGAIN:
		return denial_explain(DENIED_THREAD, err,
			"no thread can be started to touch the memory", errinfo);
	default:
		return explain(err, "touching", size, a->node, errinfo);
	}
}

int arena_open(struct arena *out, const struct arena_config *config, struct errinfo *errinfo)
{
	struct arena a = {
		.segment = config->segment, .node = config->node, .bytes = config->bytes, .fd = -1
	};
	char name[ARENA_NAME_SIZE];
	bool huge;
	int err;

	arena_name(config->segment, config->node, config->pool, name);
	err = arena_page_bytes(config->data_dir, &a.page_bytes, &huge, errinfo);
	if (err)
		return err;
	err = check_config(config, a.page_bytes, errinfo);
	if (err)
		return err;
	err = open_file(&a, config->data_dir, name, errinfo);
	if (err)
		goto fail;
	err = size_file(&a, name, errinfo);
	if (err)
		goto fail;
	err = map_file(&a, config->topology, huge, errinfo);
	if (err)
		goto fail;
	*out = a;
	return 0;
fail:
	if (a.created)
		(void)arena_remove(config->data_dir, a.segment, a.node, config->pool);
	arena_close(&a);
	return err;
}

void arena_close(struct arena *a)
{
	if (!a)
		return;
	if (a->base)
		munmap(a->base, a->bytes);
	if (a->bytes > 0 &&
		a->fd >= 0) /* bytes is 0 in a zeroed arena, whose fd 0 is not its file */
		close(a->fd);
	*a = (struct arena){ .fd = -1 };
}

int arena_remove(int data_dir, unsigned segment, unsigned node, uint64_t pool)
{
	char name[ARENA_NAME_SIZE];

	if (unlinkat(data_dir, arena_name(segment, node, pool, name), 0) != 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int arena_wipe(struct arena *a, uint64_t offset, uint64_t bytes)
{
	if (offset > a->bytes || bytes > a->bytes - offset)
		return -EINVAL;
	memset(a->base + offset, 0, bytes);
	return 0;
}
