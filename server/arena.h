/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An arena: one NUMA node's share of the pool. A named file on tmpfs or hugetlbfs, so that what is in
 * it outlives the process; mapped shared, bound strictly to its node before a page is touched, and
 * given all its pages at once by threads of that node. Afterwards nothing about it can fail: no fault,
 * no SIGBUS, no page of another node.
 *
 * One process has an arena open at a time (the file is locked). Calls on one arena come from one
 * thread, except arena_wipe(), which may run anywhere on ranges that nobody else uses.
 */
#ifndef RMEM_SERVER_ARENA_H
#define RMEM_SERVER_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/why.h"
#include "numa/prefault.h"

struct topology;

struct arena {
	unsigned node;
	char *base; /* where it is mapped, NULL: not open */
	uint64_t bytes;
	uint64_t page_bytes;
	bool created; /* the file is new: all zero. Else it holds what it held */
	int fd;
};

struct arena_config {
	int data_dir; /* open directory on tmpfs or hugetlbfs */
	unsigned node;
	uint64_t bytes; /* a multiple of the page size there */
	const struct topology *topology;
	prefault_progress *progress; /* may be NULL; called in the thread that opens */
	void *progress_arg;
};

/*
 * The page size of files in a directory; *out_huge (may be NULL): hugetlbfs.
 * -EOPNOTSUPP: neither tmpfs nor hugetlbfs.
 */
int arena_page_bytes(int data_dir, uint64_t *out_bytes, bool *out_huge, struct why *why);

/* "arena-NODE", what the file is called. */
#define ARENA_NAME_SIZE 32
const char *arena_name(unsigned node, char buf[ARENA_NAME_SIZE]);

/*
 * Open the node's arena: make the file, or take the one that is there with what it holds. A file that
 * this call made is gone again after a failure; one that was there stays.
 *	-EINVAL		bytes is 0 or no multiple of the page size, or more than an address can name
 *	-ENODEV		no such node
 *	-EBUSY		another process has it open
 *	-EEXIST		there is one of another size
 *	-EPERM		there is one, but it is not our own file
 *	-ECANCELED	progress said so
 *	-ENOSPC, -ENOMEM, -EOPNOTSUPP, errno of open, ftruncate, mmap, mbind
 */
int arena_open(struct arena *a, const struct arena_config *config, struct why *why);

/* The file stays. NULL, zeroed and closed arenas are fine. */
void arena_close(struct arena *a);

/* Delete the file; that there is none is fine. */
int arena_remove(int data_dir, unsigned node);

/* Zero a range; its pages stay where they are. -EINVAL if it is not inside the arena. */
int arena_wipe(struct arena *a, uint64_t offset, uint64_t bytes);

#endif
