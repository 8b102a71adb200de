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
#ifndef RMEM_SERVER_MEMORY_ARENA_H
#define RMEM_SERVER_MEMORY_ARENA_H

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
	uint64_t pool;  /* the pool's id */
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

/*
 * "arena-NODE-POOL", what the file is called: all of its bytes are lent, so only its name can say which pool
 * it is of. The name goes with it wherever it is moved or copied to.
 */
#define ARENA_NAME_SIZE 48
const char *arena_name(unsigned node, uint64_t pool, char buf[ARENA_NAME_SIZE]);

/* A file of a directory that is called like an arena; pool is 0 for one of the days before pools had ids. */
struct arena_entry {
	const char *name;
	unsigned node;
	uint64_t pool;
	uint64_t bytes;      /* its size */
	uint64_t held_bytes; /* the memory that it has */
};

/* Call found for each of them. 0, or errno of opendir. */
int arena_scan(int data_dir, void (*found)(void *arg, const struct arena_entry *entry), void *arg);

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
int arena_remove(int data_dir, unsigned node, uint64_t pool);

/* Zero a range; its pages stay where they are. -EINVAL if it is not inside the arena. */
int arena_wipe(struct arena *a, uint64_t offset, uint64_t bytes);

#endif
