/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/key_cache.h"

#include <errno.h>
#include <string.h>

#define CAPACITY_MIN 64

void key_cache_destroy(struct key_cache *k)
{
	heap_free(k->heap, k->items, k->capacity * sizeof(*k->items));
	*k = (struct key_cache){ 0 };
}

void key_cache_clear(struct key_cache *k)
{
	if (k->items)
		memset(k->items, 0, k->capacity * sizeof(*k->items));
	memset(k->near, 0, sizeof(k->near));
}

int key_cache_set(struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t rkey)
{
	if (slot >= k->capacity) {
		size_t capacity = k->capacity ? k->capacity : CAPACITY_MIN;
		struct key *items;

		while (capacity <= slot)
			capacity *= 2;
		items = heap_grow(
			k->heap, k->items, k->capacity * sizeof(*items), capacity * sizeof(*items));
		if (!items)
			return -ENOMEM;
		k->items = items;
		k->capacity = capacity;
	}
	k->items[slot] = (struct key){ serial, rkey };
	return 0;
}

bool key_cache_get(const struct key_cache *k, uint32_t slot, uint64_t serial, uint32_t *out_rkey)
{
	if (slot >= k->capacity || k->items[slot].serial != serial)
		return false;
	*out_rkey = k->items[slot].rkey;
	return true;
}
