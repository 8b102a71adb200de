/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much each NUMA node lends, and whether that can work: decided before anything is allocated, so
 * that a wrong size is a sentence at start and not an out-of-memory kill, a SIGBUS or an ENOMEM from
 * the NIC later.
 *
 * limits_read() asks the machine, limits_raise_memlock() changes one limit of this process; all else is
 * pure: what it decides follows from its arguments. One thread.
 */
#ifndef RMEM_SERVER_MEMORY_LIMITS_H
#define RMEM_SERVER_MEMORY_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/units.h"
#include "common/why.h"

struct topology;

#define LIMITS_NONE UINT64_MAX           /* no such limit */
#define LIMITS_NODE_MIN_BYTES (16 * MIB) /* a default is never less */
#define LIMITS_ALIGN_BYTES (2 * MIB)     /* a default is a multiple of this */

/*
 * What a connection locks beside the pool: 16 KiB of message buffers, the page with its session's line of the heartbeat page,
 * and its queues where the driver takes them from this process's memory (mlx5 does).
 */
#define LIMITS_CONNECTION_BYTES (32 * KIB)
#define LIMITS_CONNECTIONS_MIN 512 /* without the memory for so many rmemd does not start */
#define LIMITS_MEMLOCK_EXTRA (LIMITS_CONNECTIONS_MIN * LIMITS_CONNECTION_BYTES)

/* The bytes that nodes lend. A node that is not listed lends nothing. */
struct sizes {
	size_t count;
	struct sizes_node {
		unsigned node;
		uint64_t bytes;
	} nodes[ADDR_MAX_NODES];
};

uint64_t sizes_total(const struct sizes *s);

/*
 * "4G": split evenly over the nodes. "0:4G,1:2G": these nodes only. Rounded down to whole pages.
 *	-EINVAL		not of that form, a node twice, or less than a page for a node
 *	-ENODEV		no such node
 *	-EFBIG		more than an address can name (4 TiB per node)
 */
int sizes_parse(const char *text, const struct topology *t, uint64_t page_bytes, struct sizes *out,
	struct why *why);

/* What the machine allows now. */
struct limits {
	uint64_t page_bytes; /* of files in the data directory */
	bool huge;           /* it is hugetlbfs: memory comes from the nodes' huge page pools */
	uint64_t fs_free_bytes;
	uint64_t cgroup_free_bytes; /* of ordinary memory; huge pages are not charged to it */
	uint64_t memlock_soft_bytes;
	uint64_t memlock_hard_bytes; /* LIMITS_NONE with CAP_IPC_LOCK */
	struct limits_file {
		uint64_t bytes; /* size of the node's arena from an earlier run, 0: there is none */
		uint64_t held_bytes; /* memory that it holds already */
	} files[ADDR_MAX_NODES];     /* by node */
};

/* Of the files, the last one's of each node: origin_read() sees to it that there is one at most.
 * -EOPNOTSUPP: the data directory is on neither tmpfs nor hugetlbfs. */
int limits_read(int data_dir, struct limits *out, struct why *why);

/*
 * Sizes for somebody who gave none. If there are arenas from an earlier run: their sizes. Else for each
 * node a quarter of its free memory (on hugetlbfs all its free huge pages, which serve nothing else),
 * at most an even share of half of what the file system and the control group have free and of what
 * may be locked, at least LIMITS_NODE_MIN_BYTES; limits_check() then tells if even that is too much.
 * -ENODEV if no node has any.
 */
int sizes_default(
	const struct topology *t, const struct limits *l, struct sizes *out, struct why *why);

/*
 * Can these sizes work? Memory that arenas from an earlier run hold counts as available to them.
 *	-ENODEV		a node that does not exist
 *	-ENOMEM		more than a node has in all, or has free, or than the control group allows
 *	-ENOSPC		more than the file system of the data directory has free
 *	-EPERM		more than this process may lock, whatever it does itself
 */
int limits_check(
	const struct topology *t, const struct limits *l, const struct sizes *s, struct why *why);

/* Raise the soft RLIMIT_MEMLOCK if sizes that limits_check() passed, and so many connections, need it. */
int limits_raise_memlock(
	const struct limits *l, const struct sizes *s, unsigned connections, struct why *why);

/*
 * Is less than so many connections need left to lock beside the pool? Then true, and *warning says for how many it is
 * enough, and what helps. That is no reason not to start: there may never be so many.
 */
bool limits_warn_connections(
	const struct limits *l, const struct sizes *s, unsigned connections, struct why *warning);

#endif
