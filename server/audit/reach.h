/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reachability: what is known of every block from the references to it (docs/AUDIT.md, "References"). Pure.
 *
 * The rules are memcheck's:
 *
 * - A block is reachable if references lead to it from outside, each of them to the start of a block. If references lead to it,
 *   but only with at least one to the inside of a block among them, it is possible.
 * - All other blocks are lost. They are looked at in address order: a block that no walk has taken yet is definite, and its
 *   walk takes all lost blocks that its references lead to, no matter to which part, and makes them indirect. So a walk goes
 *   through a former definite block, which becomes indirect as well, its sum moving over; it does not go on at a block that
 *   was indirect before. (Of two lost blocks that refer to each other the lower is definite. If a third, above both,
 *   refers only to the other, both it and the lower one are definite.)
 *
 * Beyond memcheck's: a block may be referred to from memory that could not be read (REACH_MAYBE). Then a kind is only given if
 * it is the same whatever that memory holds; else it is limbo. So a lost block is one to which nothing leads, not even
 * from such a block.
 *
 * A holder that is gone holds nothing; that it is gone makes its blocks neither lost nor reachable. One that
 * another program refers to is reachable.
 *
 * Takes 8 bytes per block (with those of reach_blocks and reach_edges 14.1, and 4 per reference). The stack of blocks to be
 * visited is a list through these bytes, so it is bounded. One thread at a time.
 */
#ifndef RMEM_SERVER_AUDIT_REACH_H
#define RMEM_SERVER_AUDIT_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "server/audit/finding.h"
#include "server/audit/reach_blocks.h"
#include "server/audit/reach_edges.h"

struct reach;

enum reach_hold {
	REACH_MAYBE,  /* memory that was not read may refer to it */
	REACH_INSIDE, /* something outside of all blocks refers to its inside */
	REACH_START, /* ... to its start. Also for roots: named, persistent, declared or shared blocks */
};

/*
 * parts: in ascending order of their blocks, without overlap; a block in no part refers to nothing. blocks and parts are
 * kept, and must not change before reach_end(). -EINVAL: parts in a wrong order, or with blocks that do not exist; -ENOMEM.
 */
int reach_begin(const struct reach_blocks *blocks, const struct reach_edges *parts, uint32_t nparts,
	struct reach **out);
void reach_end(struct reach *r); /* NULL is fine */

/* Before the first reach_run(); any number of times per block, in any order. */
void reach_hold(struct reach *r, uint32_t block, enum reach_hold how);

/* Do a slice of the work: look at so many blocks and references. true: finished. */
bool reach_run(struct reach *r, uint64_t steps);

/* After that: definite, indirect, possible, reachable or limbo. */
enum audit_kind reach_kind(const struct reach *r, uint32_t block);

/* The bytes of all blocks that are indirect because this one is definite; of any other block 0. */
uint64_t reach_indirect_bytes(const struct reach *r, uint32_t block);

#endif
