/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool keeps segments, their allocators and the ledger consistent.
 *
 * Life of a block: free → lent (ledger LIVE) → REVOKING → QUARANTINE → wiped → free. Allocator and ledger count
 * independently; the audit compares the counts.
 *
 * Event loop thread only.
 */
#ifndef RMEM_SERVER_MEMORY_POOL_H
#define RMEM_SERVER_MEMORY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/errinfo.h"
#include "common/units.h"
#include "server/ledger/ledger.h"
#include "server/ledger/table.h"
#include "server/memory/numastat.h"
#include "server/memory/wish.h"
#include "numa/topology.h"
#include "server/memory/datadir.h"
#include "server/memory/limits.h"
#include "server/memory/segment.h"
#include "server/memory/wiper.h"

/* Of a new node's memory so much is there when the pool is open, so that clients can begin; growth.h makes the rest. */
#define POOL_FIRST_BYTES (4 * GIB)

struct pool_node {
	unsigned node; /* OS index */
	struct wiper *wiper;
	/* Blocks that wait for the wiper: a list of ledger slots, linked by pool.wipe_next. */
	uint32_t first_waiting, last_waiting, nwaiting;
};

struct pool {
	struct ledger *ledger;
	struct segment *segments[SEGMENTS_MAX]; /* by number; NULL: there is none */
	struct pool_node nodes[ADDR_MAX_NODES];
	unsigned nnodes;
	const struct topology *topology;
	struct numastat stats[ADDR_MAX_NODES]; /* by node */
	uint64_t part_bytes;   /* the most that a window covers on every device; a power of 2 */
	uint32_t *wipe_next;   /* by ledger slot, ledger_max() long */
	uint32_t nquarantined; /* blocks in QUARANTINE */
	int wiped_fd; /* readable when a wiper has blocks to take back: call pool_wipe(). Nonblocking */
	/* Called when the last block of the session in a slot is free. May be NULL. */
	void (*emptied)(void *context, uint32_t session);
	void *context;
	uint64_t id, run;
	struct table proofs; /* proofs that free memory is zero: proof.h */
	bool fresh;          /* nothing in the directory had ever been lent when it was opened */
	uint32_t rejected;   /* number of damaged ledger records */
	uint64_t unproven_bytes; /* wiped at the start for lack of a proof */
};

/*
 * Open the segments in the data directory, make one for each node that has none (POOL_FIRST_BYTES), and rebuild the allocators from the ledger. Blocks that were being
 * revoked or wiped are queued for wiping. Free memory is wiped here if no proof says that it is zero, or if a
 * ledger record is damaged (its block is unknown).
 *
 * Nothing changes before the existing files are known to be consistent (origin.h). On failure pool_undo() has run; LIVE
 * blocks are unchanged.
 */
int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct errinfo *errinfo);

/* Call after a complete start: drop damaged records. pool_open() has wiped their memory. */
void pool_settle(struct pool *p);

/* Call after a failed start, before pool_close(): remove new arenas; if nothing was ever lent, all files. */
void pool_undo(struct pool *p, const struct datadir *data);

/* Keeps the files. A zeroed struct is fine. */
void pool_close(struct pool *p);

/* NULL: no such node. */
struct pool_node *pool_find_node(struct pool *p, unsigned node);

#define POOL_ALL_NODES UINT64_MAX

/* The segment that an address is in. NULL: none. */
struct segment *pool_find_segment(const struct pool *p, uint64_t addr);

/* Iterate in order of numbers: start with *cursor 0. NULL: no more. */
struct segment *pool_next_segment(const struct pool *p, unsigned *cursor);

/*
 * Open a segment on config->node; choose config->segment and ->pool. It is none of the pool's yet: populate it, and then
 * pool_add_segment() and pool_prove_segment(), or pool_drop_segment(). As segment_open(), and -ENOSPC (SEGMENTS_MAX).
 */
int pool_make_segment(
	struct pool *p, struct arena_config *config, struct segment **out, struct errinfo *errinfo);

/* From now on it is the pool's, which closes it. After an error it is not. */
int pool_add_segment(struct pool *p, struct segment *s, const struct topology *topology,
	struct errinfo *errinfo);

/* Store that its free memory is zero. errno of fstat. */
int pool_prove_segment(struct pool *p, const struct segment *s);

/* Remove a segment from the pool, if it is there, and its file. The caller closes it. Nothing in it is lent. */
void pool_drop_segment(struct pool *p, const struct datadir *data, unsigned number, unsigned node);

/* Sum over the segments of these nodes: a bit each. */
uint64_t pool_size_bytes(const struct pool *p, uint64_t nodes);

/* What is known of the nodes; distances are not set. Returns how many there are. */
unsigned pool_facts(const struct pool *p, struct ranking_node out[ADDR_MAX_NODES]);

/* On which nodes the wish can be fulfilled, and in which order they are tried. Errors as ranking_make(). */
int pool_rank(const struct pool *p, const struct wish *wish, struct ranking *out,
	struct errinfo *errinfo);
/* A bit per node of these; 0: on none. */
uint64_t pool_rank_mask(const struct pool *p, const struct wish *wish);
/* It was fulfilled, on that node. */
void pool_count(
	struct pool *p, const struct wish *wish, const struct ranking *ranking, unsigned node);

/*
 * Lend a block, where the wish says. draft carries session, session_serial, birth_ns, site and seq.
 * -EINVAL, -ENODEV as pool_rank(), -EFBIG, -ENOSPC, -EDQUOT (ledger full), -ENOMEM (the ledger's file cannot grow: its
 * file system is full).
 */
int pool_alloc(struct pool *p, const struct wish *wish, const struct allocation *draft,
	const struct allocation **out);

/*
 * Explain an -ENOSPC of pool_alloc() to the session in a slot: its own bytes and the sum of all others. Names no other
 * session: only the operator may see them. Returns -ENOSPC.
 */
int pool_explain_full(
	const struct pool *p, const struct wish *wish, uint32_t session, struct errinfo *errinfo);

/* REVOKING → QUARANTINE, and queue the block for wiping. Call only when no NIC can access the block. */
void pool_quarantine(struct pool *p, const struct allocation *a);

/*
 * Free blocks that have been wiped and hand others to the wipers. true: call again soon, without waiting for wiped_fd.
 */
bool pool_wipe(struct pool *p);

/* Wait until all blocks in QUARANTINE are wiped and free. */
void pool_wipe_all(struct pool *p);

/* Bytes wiped so far by the wipers. */
uint64_t pool_wiped_bytes(const struct pool *p);

/* The largest allocation that these nodes (a bit each; POOL_ALL_NODES) could serve if they were empty. */
uint64_t pool_max_alloc_bytes(const struct pool *p, uint64_t nodes);

/* An allocation's address in this process. */
void *pool_pointer(struct pool *p, const struct allocation *a);

/* ---- between the pool's own files ---- */

/* The block is wiped: end its record, then let it be allocated again. */
void pool_release(struct pool *p, const struct allocation *a);

/* The ledger is open. pool_close_wiping(): before the arenas are unmapped; fine if half open, or zeroed. */
int pool_open_wiping(struct pool *p, struct errinfo *errinfo);
int pool_open_wiper(
	struct pool *p, struct pool_node *n, const struct topology *t, struct errinfo *errinfo);
void pool_close_wiping(struct pool *p);

#endif
