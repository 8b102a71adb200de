/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/key_cache.h"

#include <errno.h>
#include <string.h>

#define CAPACITY_MIN 64
#define PARTS_MIN 16

void key_cache_destroy(struct key_cache *k)
{
	heap_free(k->heap, k->items, k->capacity * sizeof(*k->items));
	heap_free(k->heap, k->parts, k->parts_capacity * sizeof(*k->parts));
	*k = (struct key_cache){ 0 };
}

void key_cache_clear(struct key_cache *k)
{
	if (k->items)
		memset(k->items, 0, k->capacity * sizeof(*k->items));
	memset(k->near, 0, sizeof(k->near));
	k->nparts = 0;
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

/* Where the part that starts there is, or belongs. */
static size_t search(const struct key_cache *k, uint64_t start)
{
	size_t low = 0, high = k->nparts;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (k->parts[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A server that lends in small parts makes many: those of blocks that are gone must not pile up. */
static void drop_gone(struct key_cache *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->nparts; i++) {
		const struct part_key *p = &k->parts[i];

		if (atomic_load_explicit(p->live, memory_order_relaxed) == p->key.serial)
			k->parts[kept++] = *p;
	}
	k->nparts = kept;
}

/* Room for one more. It grows also where few have gone, so that looking through all is rare. */
static int make_room(struct key_cache *k)
{
	const size_t capacity = k->parts_capacity ? 2 * k->parts_capacity : PARTS_MIN;
	struct part_key *parts;

	if (k->nparts < k->parts_capacity)
		return 0;
	drop_gone(k);
	if (k->nparts < k->parts_capacity / 2)
		return 0;
	parts = heap_grow(
		k->heap, k->parts, k->parts_capacity * sizeof(*parts), capacity * sizeof(*parts));
	if (!parts)
		return k->nparts < k->parts_capacity ? 0 : -ENOMEM;
	k->parts = parts;
	k->parts_capacity = capacity;
	return 0;
}

static bool has_part(const struct key_cache *k, size_t at, uint64_t start)
{
	return at < k->nparts && k->parts[at].start == start;
}

int key_cache_set_part(struct key_cache *k, uint64_t start, const _Atomic uint64_t *live,
	uint64_t serial, uint32_t rkey)
{
	size_t at = search(k, start);

	if (!has_part(k, at, start)) {
		if (make_room(k))
			return -ENOMEM;
		at = search(k, start);
		memmove(&k->parts[at + 1], &k->parts[at], (k->nparts++ - at) * sizeof(*k->parts));
	}
	k->parts[at] = (struct part_key){ start, { serial, rkey }, live };
	return 0;
}

bool key_cache_get_part(
	const struct key_cache *k, uint64_t start, uint64_t serial, uint32_t *out_rkey)
{
	const size_t at = search(k, start);

	if (!has_part(k, at, start) || k->parts[at].key.serial != serial)
		return false;
	*out_rkey = k->parts[at].key.rkey;
	return true;
}
