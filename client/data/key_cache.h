/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of one connection: which allocation can be reached with which rkey, and a small cache in front of
 * the session's table that answers by address without a lock.
 *
 * A key belongs to an allocation's slot, and is good for the allocation with the serial it was fetched
 * for. Pure; one thread.
 */
#ifndef RMEM_CLIENT_DATA_KEY_CACHE_H
#define RMEM_CLIENT_DATA_KEY_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_NEAR 64 /* cached ranges, a power of 2 */

struct key {
	uint64_t serial; /* 0: none */
	uint32_t rkey;
};

struct near_key {
	uint64_t start, end; /* of the allocation; equal: none */
	uint64_t serial;
	uint32_t rkey;
};

struct key_cache {
	struct key *items; /* by slot */
	size_t capacity;
	struct near_key near[KEYS_NEAR];
};

void key_cache_destroy(struct key_cache *k); /* zeroed is fine */
void key_cache_clear(struct key_cache *k);   /* a new connection: none is good any more */
void key_cache_forget_near(struct key_cache *k);

/* 0 or -ENOMEM. */
int key_cache_set(struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t rkey);
bool key_cache_get(const struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t *out_rkey);

/* No two allocations share a page, so the page an access begins in tells where it may be cached. */
static inline struct near_key *key_cache_near(struct key_cache *k, uint64_t addr)
{
	return &k->near[addr >> 12 & (KEYS_NEAR - 1)];
}

static inline bool key_cache_find(
	struct key_cache *k, uint64_t addr, size_t bytes, uint32_t *out_rkey)
{
	const struct near_key *n = key_cache_near(k, addr);

	if (addr < n->start || addr >= n->end || bytes > n->end - addr)
		return false;
	*out_rkey = n->rkey;
	return true;
}

/* ... if that is an allocation with a serial up to as_of. */
static inline bool key_cache_find_as_of(
	struct key_cache *k, uint64_t addr, size_t bytes, uint64_t as_of, uint32_t *out_rkey)
{
	return key_cache_near(k, addr)->serial <= as_of && key_cache_find(k, addr, bytes, out_rkey);
}

static inline void key_cache_remember(
	struct key_cache *k, uint64_t addr, const struct near_key *near)
{
	*key_cache_near(k, addr) = *near;
}

#endif
