/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool: arenas, their allocators and the ledger, kept in step.
 *
 * Every byte of a block goes round: free → lent (ledger LIVE) → REVOKING → QUARANTINE → wiped → free.
 * The allocator and the ledger count independently; the audit compares them.
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_POOL_H
#define RMEM_SERVER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/why.h"
#include "core/buddy.h"
#include "core/ledger.h"
#include "numa/topology.h"
#include "server/arena.h"
#include "server/datadir.h"
#include "server/limits.h"

struct pool_node {
	unsigned node; /* OS index, and what addresses carry */
	struct arena arena;
	struct buddy *buddy;
};

struct pool {
	struct ledger *ledger;
	struct pool_node nodes[ADDR_MAX_NODES];
	unsigned nnodes;
	uint64_t block_max;   /* no block is larger: the devices could not reach all of it */
	uint32_t *wipe_queue; /* ring of ledger slots in QUARANTINE, ledger_max() long */
	uint32_t wipe_head, wipe_count;
	uint64_t wiped_bytes; /* of the allocation at the head */
	uint64_t releases;    /* how often a block became free */
};

/*
 * Map or make the arenas in the data directory and rebuild the allocators from the ledger: what was
 * being revoked or wiped is wiped again.
 */
int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct why *why);

/* Keeps the files. A zeroed struct is fine. */
void pool_close(struct pool *p);

/* NULL if there is no such node. */
struct pool_node *pool_find_node(struct pool *p, unsigned node);

/*
 * Lend a block: of that node, or of the node with most room (RMEM_NODE_ANY). draft carries session,
 * serial, birth, site and seq. -EINVAL no such node, -EFBIG, -ENOSPC, -EDQUOT (ledger full).
 */
int pool_alloc(struct pool *p, uint64_t bytes, int node, const struct allocation *draft,
	const struct allocation **out);

/* No NIC can reach it any more: REVOKING → QUARANTINE, to be wiped. */
void pool_quarantine(struct pool *p, const struct allocation *a);

/* Wipe at most about budget_bytes and free what is wiped. True if there is more to do. */
bool pool_wipe(struct pool *p, uint64_t budget_bytes);

/* The most that one allocation could get if the pool, or that node of it, were empty. */
uint64_t pool_max_alloc_bytes(const struct pool *p, int node);

/* Where an allocation's bytes are in this process. */
void *pool_pointer(struct pool *p, const struct allocation *a);

#endif
