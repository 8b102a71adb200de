/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much each NUMA node lends, and whether the machine allows it. Checked before anything is allocated, so a wrong
 * size is an error message at start, not an OOM kill, a SIGBUS or an ENOMEM from the NIC later.
 *
 * limits_read() reads the machine's state and limits_raise_memlock() changes a limit of this process; all other
 * functions are pure. One thread.
 */
#ifndef RMEM_SERVER_MEMORY_LIMITS_H
#define RMEM_SERVER_MEMORY_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/units.h"
#include "common/errinfo.h"
#include "server/memory/sizes.h"

struct topology;

#define LIMITS_NONE UINT64_MAX           /* no limit */
#define LIMITS_NODE_MIN_BYTES (16 * MIB) /* minimum of a default */
#define LIMITS_ALIGN_BYTES (2 * MIB)     /* a default is a multiple of this */

/*
 * Memory that a connection locks in addition to the pool: 16 KiB of message buffers, the heartbeat page with its
 * session's line, and queues that the driver allocates from this process's memory (mlx5 does).
 */
#define LIMITS_CONNECTION_BYTES (32 * KIB)
#define LIMITS_CONNECTIONS_MIN 512 /* rmemd starts only if it may lock the memory for this many */
#define LIMITS_MEMLOCK_EXTRA (LIMITS_CONNECTIONS_MIN * LIMITS_CONNECTION_BYTES)

/* The machine's current limits. */
struct limits {
	uint64_t page_bytes; /* of files in the data directory */
	bool huge;           /* hugetlbfs: memory comes from the nodes' huge page pools */
	uint64_t fs_free_bytes;
	uint64_t cgroup_free_bytes; /* huge pages are not charged */
	uint64_t memlock_soft_bytes;
	uint64_t memlock_hard_bytes; /* LIMITS_NONE with CAP_IPC_LOCK */
	struct limits_file {
		uint64_t bytes;      /* size of the node's arenas from an earlier run; 0: none */
		uint64_t held_bytes; /* memory already allocated to them */
	} files[ADDR_MAX_NODES];     /* by node */
};

/* Call origin_read() first: it refuses a directory with arenas that do not belong together.
 * -EOPNOTSUPP: the data directory is on neither tmpfs nor hugetlbfs. */
int limits_read(int data_dir, struct limits *out, struct errinfo *errinfo);

/*
 * Sizes for a start without --size. If an earlier run left arenas: their sizes. Else per node a quarter of its free
 * memory (on hugetlbfs all free huge pages, which have no other use). Upper bounds: an even share of half the free
 * space of the file system, of half the free memory of the control group, and of the memory that may be locked. Lower
 * bound: LIMITS_NODE_MIN_BYTES; limits_check() tells if even that is too much. -ENODEV if no node has free memory.
 */
int sizes_default(const struct topology *t, const struct limits *l, struct sizes *out,
	struct errinfo *errinfo);

/*
 * Does the machine allow these sizes? Memory that arenas from an earlier run hold counts as free for them.
 *	-ENODEV		no such node
 *	-ENOMEM		more than a node's total or free memory, or more than the control group allows
 *	-ENOSPC		more than the free space of the data directory's file system
 *	-EPERM		more than the hard limit of lockable memory
 */
int limits_check(const struct topology *t, const struct limits *l, const struct sizes *s,
	struct errinfo *errinfo);

/* Raise the soft RLIMIT_MEMLOCK if these sizes (which limits_check() passed) and connections need it. */
int limits_raise_memlock(const struct limits *l, const struct sizes *s, unsigned connections,
	struct errinfo *errinfo);

/*
 * true if this many connections would exceed the lockable memory. *warning then says how many fit, and the remedy.
 * rmemd starts anyway: it may never have that many.
 */
bool limits_warn_connections(const struct limits *l, const struct sizes *s, unsigned connections,
	struct errinfo *warning);

#endif
