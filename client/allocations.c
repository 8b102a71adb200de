/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/allocations.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void allocations_destroy(struct allocations *t)
{
	free(t->items);
	free(t->slots);
	*t = (struct allocations){ 0 };
}

int allocations_reserve(struct allocations *t)
{
	size_t capacity = t->capacity ? t->capacity * 2 : 64;
	struct own *items;
	uint32_t *slots;

	if (t->count < t->capacity)
		return 0;
	if (capacity > UINT32_MAX)
		return -ENOMEM;
	items = realloc(t->items, capacity * sizeof(*items));
	if (!items)
		return -ENOMEM;
	t->items = items;
	slots = realloc(t->slots, capacity * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	t->slots = slots;
	for (size_t i = t->capacity; i < capacity; i++)
		slots[i] = (uint32_t)i;
	t->capacity = capacity;
	return 0;
}

/* How many start at or below addr. */
static size_t upper_bound(const struct allocations *t, uint64_t addr)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->items[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_over(const struct own *own)
{
	return own->state == OWN_STALE || own->state == OWN_FREED;
}

static void cut(struct allocations *t, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		t->slots[t->count - 1 - (i - first)] = t->items[i].slot;
	memmove(&t->items[first], &t->items[end], (t->count - end) * sizeof(*t->items));
	t->count -= end - first;
}

static int add(struct allocations *t, const struct own *new)
{
	const uint64_t addr = new->addr, bytes = new->bytes;
	size_t first, end;
	int rc;

	if (bytes == 0 || bytes > UINT64_MAX - addr)
		return -EINVAL;
	first = upper_bound(t, addr);
	if (first > 0 && addr - t->items[first - 1].addr < t->items[first - 1].bytes)
		first--;
	for (end = first; end < t->count && t->items[end].addr < addr + bytes; end++)
		if (!is_over(&t->items[end]) && (new->attached || !t->items[end].attached))
			return -EEXIST;
	rc = allocations_reserve(t);
	if (rc)
		return rc;
	cut(t, first, end);
	memmove(&t->items[first + 1], &t->items[first], (t->count - first) * sizeof(*t->items));
	t->items[first] = *new;
	t->items[first].serial = ++t->serials;
	t->items[first].slot = t->slots[t->count];
	t->count++;
	return 0;
}

int allocations_add(struct allocations *t, uint64_t addr, uint64_t bytes, struct origin origin)
{
	const struct own new = {
		.addr = addr, .bytes = bytes, .state = OWN_LIVE, .origin = origin
	};

	return add(t, &new);
}

int allocations_attach(
	struct allocations *t, uint64_t addr, uint64_t bytes, const uint8_t key[SHARE_KEY_SIZE])
{
	struct own new = { .addr = addr, .bytes = bytes, .state = OWN_LIVE, .attached = true };

	memcpy(new.key, key, sizeof(new.key));
	return add(t, &new);
}

void allocations_remove(struct allocations *t, struct own *own)
{
	size_t i = (size_t)(own - t->items);

	cut(t, i, i + 1);
}

struct own *allocations_find_range(const struct allocations *t, uint64_t addr, uint64_t bytes)
{
	size_t i = upper_bound(t, addr);
	struct own *own;
	uint64_t offset;

	if (i == 0)
		return NULL;
	own = &t->items[i - 1];
	offset = addr - own->addr;
	return offset < own->bytes && bytes <= own->bytes - offset ? own : NULL;
}

struct own *allocations_find(const struct allocations *t, uint64_t addr)
{
	size_t i = upper_bound(t, addr);

	return i > 0 && t->items[i - 1].addr == addr ? &t->items[i - 1] : NULL;
}

void allocations_mark_stale(struct allocations *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->items[i].state != OWN_FREED && !t->items[i].attached)
			t->items[i].state = OWN_STALE;
}
