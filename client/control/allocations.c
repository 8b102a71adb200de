/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/allocations.h"

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

/* The first that ends behind addr. */
static size_t first_behind(const struct allocations *t, uint64_t addr)
{
	size_t i = upper_bound(t, addr);

	return i > 0 && addr - t->items[i - 1].addr < t->items[i - 1].bytes ? i - 1 : i;
}

struct own *allocations_overlap(const struct allocations *t, uint64_t addr, uint64_t bytes)
{
	size_t i = first_behind(t, addr);

	return i < t->count && t->items[i].addr < addr + bytes ? &t->items[i] : NULL;
}

static int add(struct allocations *t, const struct own *new)
{
	const uint64_t addr = new->addr, bytes = new->bytes;
	size_t at;
	int rc;

	if (bytes == 0 || bytes > UINT64_MAX - addr)
		return -EINVAL;
	if (allocations_overlap(t, addr, bytes))
		return -EEXIST;
	at = upper_bound(t, addr);
	rc = allocations_reserve(t);
	if (rc)
		return rc;
	memmove(&t->items[at + 1], &t->items[at], (t->count - at) * sizeof(*t->items));
	t->items[at] = *new;
	t->items[at].serial = atomic_fetch_add(&t->serials, 1) + 1;
	t->items[at].slot = t->slots[t->count];
	t->count++;
	return 0;
}

int allocations_add(
	struct allocations *t, uint64_t addr, uint64_t bytes, uint64_t id, struct origin origin)
{
	const struct own new = {
		.addr = addr, .bytes = bytes, .id = id, .state = OWN_LIVE, .origin = origin
	};

	return add(t, &new);
}

int allocations_attach(struct allocations *t, uint64_t addr, uint64_t bytes, uint64_t id,
	const uint8_t key[SHARE_KEY_SIZE])
{
	struct own new = {
		.addr = addr, .bytes = bytes, .id = id, .state = OWN_LIVE, .attached = true
	};

	memcpy(new.key, key, sizeof(new.key));
	return add(t, &new);
}

void allocations_remove(struct allocations *t, struct own *own)
{
	const size_t i = (size_t)(own - t->items);

	t->reserved -= is_over(own);
	t->slots[t->count - 1] = own->slot;
	memmove(own, own + 1, (t->count - i - 1) * sizeof(*own));
	t->count--;
}

void allocations_set_state(struct allocations *t, struct own *own, enum own_state state)
{
	t->reserved -= is_over(own);
	own->state = state;
	t->reserved += is_over(own);
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
			allocations_set_state(t, &t->items[i], OWN_STALE);
}

unsigned allocations_displace(struct allocations *t, uint64_t addr, uint64_t bytes)
{
	unsigned n = 0;

	for (size_t i = first_behind(t, addr); i < t->count && t->items[i].addr < addr + bytes;
		i++) {
		if (is_over(&t->items[i]))
			continue;
		allocations_set_state(t, &t->items[i], OWN_STALE);
		n++;
	}
	return n;
}

/* Make room for one more: what lies between two neighbours is covered too, where that is the least. */
static unsigned join_nearest(struct range *ranges, unsigned n)
{
	unsigned at = 1;

	for (unsigned i = 2; i < n; i++)
		if (ranges[i].start - ranges[i - 1].end < ranges[at].start - ranges[at - 1].end)
			at = i;
	ranges[at - 1].end = ranges[at].end;
	memmove(&ranges[at], &ranges[at + 1], (n - at - 1) * sizeof(*ranges));
	return n - 1;
}

unsigned allocations_reserved(const struct allocations *t, struct range out[AVOID_MAX])
{
	struct range ranges[AVOID_MAX + 1];
	unsigned n = 0;

	for (size_t i = 0; t->reserved && i < t->count; i++) {
		const struct own *own = &t->items[i];

		if (!is_over(own))
			continue;
		ranges[n++] = (struct range){ own->addr, own->addr + own->bytes };
		if (n > AVOID_MAX)
			n = join_nearest(ranges, n);
	}
	memcpy(out, ranges, n * sizeof(*ranges));
	return n;
}
