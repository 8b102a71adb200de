/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of one connection: which block can be reached with which rkey, by the block's slot; those of the parts of long
 * blocks, by address; and a small cache before that and before the session's blocks, which answers by address.
 *
 * A key is good for the block with the serial it was fetched for, and for as long as that is live. Pure; one thread.
 */
#ifndef RMEM_CLIENT_DATA_KEY_CACHE_H
#define RMEM_CLIENT_DATA_KEY_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/slabs/slab.h"
#include "common/heap.h"

#define KEYS_NEAR 64 /* cached ranges, a power of 2 */

struct key {
	uint64_t serial; /* 0: none */
	uint32_t rkey;
};

/* Of a part of a block that no single key reaches. */
struct part_key {
	uint64_t start;
	struct key key;
	const _Atomic uint64_t *live; /* of the block: as in near_key */
};

struct near_key {
	uint64_t start, bytes;        /* of the block, or part; 0 bytes: none, or a slab */
	uint64_t serial;              /* of the block, ... */
	const _Atomic uint64_t *live; /* ... which is usable while this says the same */
	uint32_t rkey;
	const struct slab *slab; /* its objects are looked at one by one; else NULL */
} __attribute__((aligned(64)));

struct key_cache {
	struct key *items; /* by slot */
	size_t capacity;
	struct heap *heap;
	/* Ascending. Those of blocks that are gone stay until others begin there, or there is no more room. */
	struct part_key *parts;
	size_t nparts, parts_capacity;
	struct near_key near[KEYS_NEAR];
};

void key_cache_destroy(struct key_cache *k); /* zeroed is fine; the heap stays */
void key_cache_clear(struct key_cache *k);   /* a new connection: none is good any more */

/* 0 or -ENOMEM. */
int key_cache_set(struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t rkey);
bool key_cache_get(const struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t *out_rkey);

/* The same of the part that starts there. live: the block's, which stays. */
int key_cache_set_part(struct key_cache *k, uint64_t start, const _Atomic uint64_t *live,
	uint64_t serial, uint32_t rkey);
bool key_cache_get_part(
	const struct key_cache *k, uint64_t start, uint64_t serial, uint32_t *out_rkey);

/* No two blocks share a page, so the page an access begins in tells where it may be cached. */
static inline struct near_key *key_cache_near(struct key_cache *k, uint64_t addr)
{
	return &k->near[addr >> 12 & (KEYS_NEAR - 1)];
}

/* What is cached for the range, if all of it may be used now; else NULL. */
static inline const struct near_key *key_cache_find(
	struct key_cache *k, uint64_t addr, size_t bytes)
{
	const struct near_key *n = key_cache_near(k, addr);
	uint64_t end;

	if (__builtin_add_overflow(addr - n->start, bytes, &end) || end > n->bytes ||
		atomic_load_explicit(n->live, memory_order_acquire) != n->serial)
		return NULL;
	return n;
}

/* ... if it is wholly inside an object. */
static inline const struct near_key *key_cache_find_object(
	struct key_cache *k, uint64_t addr, size_t bytes, uint32_t *out_slot)
{
	const struct near_key *n = key_cache_near(k, addr);

	if (!n->slab || atomic_load_explicit(n->live, memory_order_acquire) != n->serial ||
		!slab_holds(n->slab, addr, bytes, out_slot))
		return NULL;
	return n;
}

static inline void key_cache_remember(
	struct key_cache *k, uint64_t addr, const struct near_key *near)
{
	*key_cache_near(k, addr) = *near;
}

#endif
