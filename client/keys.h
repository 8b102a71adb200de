/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of one connection: which allocation can be reached with which rkey, and a small cache in front of
 * the session's table that answers by address without a lock.
 *
 * A key belongs to an allocation's slot, and is good for the allocation with the serial it was fetched
 * for. Pure; one thread.
 */
#ifndef RMEM_CLIENT_KEYS_H
#define RMEM_CLIENT_KEYS_H

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

struct keys {
	struct key *items; /* by slot */
	size_t capacity;
	struct near_key near[KEYS_NEAR];
};

void keys_destroy(struct keys *k); /* zeroed is fine */
void keys_clear(struct keys *k);   /* a new connection: none is good any more */
void keys_forget_near(struct keys *k);

/* 0 or -ENOMEM. */
int keys_set(struct keys *k, uint32_t slot, uint64_t serial, uint32_t rkey);
bool keys_get(const struct keys *k, uint32_t slot, uint64_t serial, uint32_t *out_rkey);

/* No two allocations share a page, so the page an access begins in tells where it may be cached. */
static inline struct near_key *keys_near(struct keys *k, uint64_t addr)
{
	return &k->near[addr >> 12 & (KEYS_NEAR - 1)];
}

static inline bool keys_find(struct keys *k, uint64_t addr, size_t bytes, uint32_t *out_rkey)
{
	const struct near_key *n = keys_near(k, addr);

	if (addr < n->start || addr >= n->end || bytes > n->end - addr)
		return false;
	*out_rkey = n->rkey;
	return true;
}

/* ... if that is an allocation with a serial up to as_of. */
static inline bool keys_find_as_of(
	struct keys *k, uint64_t addr, size_t bytes, uint64_t as_of, uint32_t *out_rkey)
{
	return keys_near(k, addr)->serial <= as_of && keys_find(k, addr, bytes, out_rkey);
}

static inline void keys_cache(struct keys *k, uint64_t addr, const struct near_key *near)
{
	*keys_near(k, addr) = *near;
}

#endif
