/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An arena: the memory of one segment of the pool, on one NUMA node. Its contents outlive the process in a file on tmpfs
 * or hugetlbfs. The file is mapped shared and bound strictly to its node; then threads of that node populate all pages.
 * After that, no access faults, raises SIGBUS or gets a page of another node.
 *
 * One process at a time has an arena open (the file is locked). One thread makes all calls on an arena, except
 * arena_populate() and arena_wipe(): any thread may wipe a range that is not in use.
 */
#ifndef RMEM_SERVER_MEMORY_ARENA_H
#define RMEM_SERVER_MEMORY_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"
#include "numa/prefault.h"

struct topology;

#define SEGMENTS_MAX 256 /* of a pool: their numbers are smaller */

struct arena {
	unsigned segment;
	unsigned node;
	char *base; /* its mapping; NULL: not open */
	uint64_t bytes;
	uint64_t page_bytes;
	bool created; /* the file is new and all zero; else it kept its contents */
	int fd;
};

struct arena_config {
	int data_dir; /* an open directory on tmpfs or hugetlbfs */
	unsigned segment, node;
	uint64_t pool;  /* the pool's id */
	uint64_t bytes; /* a multiple of the directory's page size */
	const struct topology *topology;
};

/*
 * The page size of files in a directory. *out_huge (may be NULL): the directory is on hugetlbfs.
 * -EOPNOTSUPP: neither tmpfs nor hugetlbfs.
 */
int arena_page_bytes(int data_dir, uint64_t *out_bytes, bool *out_huge, struct errinfo *errinfo);

/*
 * The file's name, "arena-SEGMENT-NODE-POOL", or "arena-NODE-POOL" if both numbers are the same. It carries what the pool
 * must know of it because every byte of the file is lent. Moving or copying the file keeps the name.
 */
#define ARENA_NAME_SIZE 48
const char *arena_name(unsigned segment, unsigned node, uint64_t pool, char buf[ARENA_NAME_SIZE]);

/* A directory entry named like an arena. pool is 0 in a name from before pools had ids. */
struct arena_entry {
	const char *name;
	unsigned segment, node;
	uint64_t pool;
	uint64_t bytes;      /* file size */
	uint64_t held_bytes; /* allocated memory */
};

/* Call found() for each arena_entry. 0, or errno of opendir. */
int arena_scan(int data_dir, void (*found)(void *arg, const struct arena_entry *entry), void *arg);

/*
 * Open an arena: create the file, or open the existing file with its contents. On failure, remove a file that
 * this call created or found empty; keep any other file.
 *	-EINVAL		bytes is 0, not a multiple of the page size, or too large for an address
 *	-ENODEV		no such node
 *	-EBUSY		another process has the file open
 *	-EEXIST		the file has another size
 *	-EPERM		the file is not a regular file of this user
 *	-ENOMEM, -EOPNOTSUPP, errno of open, ftruncate, mmap, mbind
 */
int arena_open(struct arena *a, const struct arena_config *config, struct errinfo *errinfo);

/*
 * Populate all pages; until then, no byte may be touched. progress (may be NULL) runs in the calling thread, which may be
 * any. -ENOSPC, -ENOMEM, -EINVAL (Linux < 5.14), -EAGAIN (no thread could be started), -ECANCELED (progress returned
 * false).
 */
int arena_populate(const struct arena *a, const struct topology *t, prefault_progress *progress,
	void *progress_arg, struct errinfo *errinfo);

/* Keeps the file. NULL, zeroed and closed arenas are fine. */
void arena_close(struct arena *a);

/* Delete the file. 0 if there is none. */
int arena_remove(int data_dir, unsigned segment, unsigned node, uint64_t pool);

/* Zero a range in place. -EINVAL if the range is not inside the arena. */
int arena_wipe(struct arena *a, uint64_t offset, uint64_t bytes);

#endif
