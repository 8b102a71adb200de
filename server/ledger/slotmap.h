/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash index over the slots of a table: maps a 32-bit hash to slots. The caller compares keys. Chains are linked
 * through an array indexed by slot, so an entry costs 8 bytes and its share of the buckets, and insertion cannot fail.
 *
 * Grows by one bucket per entry (linear hashing), so that no single call takes long.
 *
 * Pure; one thread. Untouched pages of the arrays use no memory.
 */
#ifndef RMEM_SERVER_LEDGER_SLOTMAP_H
#define RMEM_SERVER_LEDGER_SLOTMAP_H

#include <stdint.h>

#include "server/ledger/slots.h"

struct slotmap {
	uint32_t *buckets; /* slot + 1; 0 ends a chain */
	uint32_t *chain;   /* by slot: next slot + 1 */
	uint32_t *hash;    /* by slot */
	uint32_t nbuckets; /* in use */
	uint32_t mask;     /* all ones, and at least nbuckets - 1 */
	uint32_t room;     /* size of buckets */
	uint32_t count;
};

int slotmap_create(struct slotmap *m, uint32_t max_slots); /* -ENOMEM */
void slotmap_destroy(struct slotmap *m);                   /* zeroed is fine */

/* Give an empty map enough buckets for count entries. */
void slotmap_expect(struct slotmap *m, uint32_t count);

void slotmap_put(struct slotmap *m, uint32_t slot, uint32_t hash);
void slotmap_remove(struct slotmap *m, uint32_t slot); /* a slot in the map */

/* Iterate over the slots with this hash, in no particular order; SLOT_NONE at the end. */
uint32_t slotmap_first(const struct slotmap *m, uint32_t hash);
uint32_t slotmap_next(const struct slotmap *m, uint32_t slot);

/* All bits of the result depend on all bits of key. */
static inline uint32_t slotmap_hash(uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15ULL;
	key ^= key >> 29;
	key *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(key >> 32);
}

#endif
