/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The references found in the memory of blocks: 4 bytes each, and 4 per block. Each part is about a run of blocks and is
 * filled by one thread, in address order, so several threads fill several parts without a lock. Pure.
 */
#ifndef RMEM_SERVER_AUDIT_REACH_EDGES_H
#define RMEM_SERVER_AUDIT_REACH_EDGES_H

#include "server/audit/reach_blocks.h"

struct reach_edges {
	uint32_t first, n; /* blocks */
	uint32_t nends;
	uint32_t ntargets, room, limit;
	uint32_t *ends; /* of each block up to the last with references: where its own end */
	reach_target *targets;
};

/* A word found in a block. */
struct reach_word {
	uint32_t block;
	uint64_t word;
};

/* For the blocks first to first + n - 1, and at most limit references. -ENOMEM. */
int reach_edges_open(struct reach_edges *e, uint32_t first, uint32_t n, uint32_t limit);
void reach_edges_close(struct reach_edges *e); /* a zeroed struct is fine */

/*
 * Add words in ascending order of their blocks, also from call to call. Words that refer to no block are left out, as are
 * those to their own block, and repetitions next to each other. -EINVAL: wrong order, or a block that is not in this part.
 * -ENOSPC: beyond the limit; -ENOMEM. After an error some may have been added: what is not known of the block and those
 * behind it must be made up for by reach_hold(…, REACH_MAYBE) of everything they could refer to.
 */
int reach_edges_add(struct reach_edges *e, const struct reach_blocks *blocks,
	const struct reach_word *words, size_t n);

/* Those of a block in this part. */
static inline const reach_target *reach_edges_of(
	const struct reach_edges *e, uint32_t block, const reach_target **out_end)
{
	const uint32_t i = block - e->first;
	const uint32_t from = i == 0 ? 0 : i <= e->nends ? e->ends[i - 1] : e->ntargets;

	*out_end = e->targets + (i < e->nends ? e->ends[i] : e->ntargets);
	return e->targets + from;
}

#endif
