/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks in QUARANTINE, a part of the pool (pool.h): a list per node of those that wait, and a thread per node that wipes
 * (wiper.h). A block is free only when the event loop has taken it back from the thread. A process that ends before that
 * leaves the block in QUARANTINE, and its successor wipes it again.
 *
 * Event loop thread only.
 */
#ifndef RMEM_SERVER_MEMORY_QUARANTINE_H
#define RMEM_SERVER_MEMORY_QUARANTINE_H

#include "common/errinfo.h"

struct pool;
struct pool_node;
struct topology;

/* The pool's ledger is open. */
int quarantine_open(struct pool *p, struct errinfo *errinfo);

/* Start the node's thread. */
int quarantine_open_node(
	struct pool *p, struct pool_node *n, const struct topology *t, struct errinfo *errinfo);

/* Before the arenas are unmapped. Fine if half open, or zeroed. */
void quarantine_close(struct pool *p);

#endif
