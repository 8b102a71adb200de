/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks that a scan looks for, and what it has found of each: an address of its first byte, an address of another of its bytes.
 * A block of no bytes counts as one byte; one past the end is outside. That is what memcheck does.
 *
 * Remote addresses in none of these blocks may be other sessions' that this process uses. Those inside of the spans that the
 * caller gives are kept, each once, as many as fit; how often one did not fit is counted.
 *
 * A table of every 64th address lies in the cache: to find the block takes about as many accesses to memory as there are
 * in 64 of them. Everything lies on the heap given, which no scan reads (common/private_memory.h). Pure. One thread.
 */
#ifndef RMEM_CLIENT_SCAN_TARGETS_H
#define RMEM_CLIENT_SCAN_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/heap.h"

#define TARGETS_STRAYS_MAX 4096U
#define TARGETS_STEP 64U

struct target {
	uint64_t addr, bytes;
};

struct targets {
	struct heap *heap;
	const struct target *blocks; /* the caller's, ascending */
	size_t nblocks;
	uint64_t *samples;            /* address of every TARGETS_STEP-th */
	uint64_t *starts, *interiors; /* a bit per block */
	const struct target *spans;   /* the caller's, ascending */
	size_t nspans;
	uint64_t *strays; /* a hash table; 0: nothing */
	unsigned nstrays;
	uint64_t strays_lost; /* addresses that found no room, as often as they were met */
};

/*
 * Both arrays have to stay as they are, and to lie in private memory. 0, -ENOMEM; -EINVAL: not ascending, overlapping,
 * or no remote addresses. Clean up with targets_destroy() in any case.
 */
int targets_init(struct targets *t, struct heap *heap, const struct target *blocks, size_t nblocks,
	const struct target *spans, size_t nspans);
void targets_destroy(struct targets *t); /* zeroed is fine */

/* These words, all remote addresses, were met. */
void targets_meet(struct targets *t, const uint64_t *words, size_t n);

/* Was block i met by its first byte, by another one? */
bool targets_start_met(const struct targets *t, size_t i);
bool targets_interior_met(const struct targets *t, size_t i);

/* Copy out those kept, in no order. Returns how many. */
size_t targets_strays(const struct targets *t, uint64_t out[TARGETS_STRAYS_MAX]);

#endif
