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

static int insert(struct key_cache *k, size_t at)
{
	if (k->nparts == k->parts_capacity) {
		const size_t capacity = k->parts_capacity ? 2 * k->parts_capacity : PARTS_MIN;
		struct part_key *parts = heap_grow(k->heap, k->parts,
			k->parts_capacity * sizeof(*parts), capacity * sizeof(*parts));

		if (!parts)
			return -ENOMEM;
		k->parts = parts;
		k->parts_capacity = capacity;
	}
	memmove(&k->parts[at + 1], &k->parts[at], (k->nparts++ - at) * sizeof(*k->parts));
	return 0;
}

int key_cache_set_part(struct key_cache *k, uint64_t start, uint64_t serial, uint32_t rkey)
{
	const size_t at = search(k, start);
	int rc = 0;

	if (at == k->nparts || k->parts[at].start != start)
		rc = insert(k, at);
	if (rc == 0)
		k->parts[at] = (struct part_key){ start, { serial, rkey } };
	return rc;
}

bool key_cache_get_part(
	const struct key_cache *k, uint64_t start, uint64_t serial, uint32_t *out_rkey)
{
	const size_t at = search(k, start);

	if (at == k->nparts || k->parts[at].start != start || k->parts[at].key.serial != serial)
		return false;
	*out_rkey = k->parts[at].key.rkey;
	return true;
}
