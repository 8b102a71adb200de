/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool: arenas, their allocators and the ledger, kept in step.
 *
 * Every byte of a block goes round: free → lent (ledger LIVE) → REVOKING → QUARANTINE → wiped → free.
 * The allocator and the ledger count independently; the audit compares them.
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_MEMORY_POOL_H
#define RMEM_SERVER_MEMORY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/why.h"
#include "server/memory/buddy.h"
#include "server/ledger/ledger.h"
#include "server/ledger/table.h"
#include "server/memory/wish.h"
#include "numa/topology.h"
#include "server/memory/arena.h"
#include "server/memory/datadir.h"
#include "server/memory/limits.h"

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
	uint64_t wiped_bytes; /* of the block at the head */
	uint64_t wipes;       /* pieces wiped so far: does it get on? */
	/* Called when the last block of the session in a slot has become free; NULL: nobody wants to know. */
	void (*emptied)(void *context, uint32_t session);
	void *context;
	uint64_t id;
	struct table proofs;     /* of what is free being zero: proof.h */
	bool fresh;              /* nothing in the directory was ever lent when it was opened */
	uint32_t rejected;       /* damaged records of the ledger */
	uint64_t unproven_bytes; /* wiped at the start: free, but who knows since when */
};

/*
 * Map or make the arenas in the data directory and rebuild the allocators from the ledger: what was
 * being revoked or wiped is wiped again. What no record of the ledger covers is proven to be zero, or
 * wiped here; so is all of it if a record is damaged, which may have been about any of it.
 *
 * Nothing is changed before all that is there is known to fit (origin.h). After a failure the directory is
 * as it was, but for a part of what is free that is zero now.
 */
int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct why *why);

/* rmemd has started: damaged records, whose memory is wiped by now, end. */
void pool_settle(struct pool *p);

/* rmemd did not start: files that pool_open() made are removed. Before pool_close(). */
void pool_undo(struct pool *p, const struct datadir *data);

/* Keeps the files. A zeroed struct is fine. */
void pool_close(struct pool *p);

/* NULL if there is no such node. */
struct pool_node *pool_find_node(struct pool *p, unsigned node);

/*
 * Lend a block: of the node that is wished, or of the node with most room (RMEM_NODE_ANY). draft carries session,
 * serial, birth, site and seq. -EINVAL no such node, -EFBIG, -ENOSPC, -EDQUOT (ledger full).
 */
int pool_alloc(struct pool *p, const struct wish *wish, const struct allocation *draft,
	const struct allocation **out);

/*
 * Why pool_alloc() said -ENOSPC, for the session in that slot: what it holds itself, and how much the others hold together.
 * Not who they are: only the operator is told that. Returns -ENOSPC.
 */
int pool_explain_full(
	const struct pool *p, const struct wish *wish, uint32_t session, struct why *why);

/* No NIC can reach it any more: REVOKING → QUARANTINE, to be wiped. */
void pool_quarantine(struct pool *p, const struct allocation *a);

/* Wipe at most about budget_bytes and free what is wiped. True if there is more to do. */
bool pool_wipe(struct pool *p, uint64_t budget_bytes);

/* The most that one allocation could get if the pool, or that node of it, were empty. */
uint64_t pool_max_alloc_bytes(const struct pool *p, int node);

/* Where an allocation's bytes are in this process. */
void *pool_pointer(struct pool *p, const struct allocation *a);

#endif
