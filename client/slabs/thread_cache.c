/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/slabs/thread_cache.h"

#include <errno.h>
#include <string.h>

struct thread_cache *thread_cache_create(struct depot *d)
{
	struct thread_cache *t = heap_alloc(d->heap, sizeof(*t));

	if (t)
		t->depot = d;
	return t;
}

void thread_cache_destroy(struct thread_cache *t)
{
	struct heap *heap;

	if (!t)
		return;
	heap = t->depot->heap;
	for (unsigned i = 0; i < SIZE_CLASSES; i++) {
		heap_free(heap, t->classes[i].ready, sizeof(struct magazine));
		heap_free(heap, t->classes[i].freed, sizeof(struct magazine));
	}
	heap_free(heap, t, sizeof(*t));
}

static bool put_back(
	struct thread_cache *t, unsigned size_class, struct magazine *m, uint64_t period)
{
	bool empties = false;

	if (m && m->n) {
		empties = depot_put(t->depot, size_class, m->items, m->n, period);
		m->n = 0;
	}
	return empties;
}

bool thread_cache_drain(struct thread_cache *t)
{
	const uint64_t period = grace_begin(t->depot->grace);
	bool empties = false;

	for (unsigned i = 0; i < SIZE_CLASSES; i++) {
		empties |= put_back(t, i, t->classes[i].ready, 0);
		empties |= put_back(t, i, t->classes[i].freed, period);
	}
	return empties;
}

/* How many slots fit this many bytes. */
static uint32_t fit(unsigned size_class, uint32_t bytes)
{
	const uint32_t n = bytes / size_class_bytes(size_class);

	return n > MAGAZINE_ITEMS_MAX ? MAGAZINE_ITEMS_MAX : n;
}

static int prepare(struct thread_cache *t, unsigned size_class)
{
	struct class_cache *c = &t->classes[size_class];

	if (c->ready && c->freed)
		return 0;
	if (!c->ready)
		c->ready = heap_alloc(t->depot->heap, sizeof(*c->ready));
	if (!c->freed)
		c->freed = heap_alloc(t->depot->heap, sizeof(*c->freed));
	c->capacity = fit(size_class, MAGAZINE_BYTES_MIN);
	return c->ready && c->freed ? 0 : -ENOMEM;
}

/* A magazine is empty or full: where that happens often, it gets larger. */
static void count_trip(struct class_cache *c, unsigned size_class)
{
	const uint32_t most = fit(size_class, MAGAZINE_BYTES_MAX), more = c->capacity * 2;

	if (++c->trips < MAGAZINE_TRIPS)
		return;
	c->trips = 0;
	c->capacity = more < most ? more + !more : most;
}

int thread_cache_refill(struct thread_cache *t, unsigned size_class)
{
	struct class_cache *c = &t->classes[size_class];
	struct magazine *m;
	int rc = prepare(t, size_class);

	if (rc)
		return rc;
	count_trip(c, size_class);
	if (c->freed->n) {
		const uint64_t period = grace_begin(t->depot->grace);

		if (grace_has_ended(t->depot->grace, period)) {
			m = c->ready;
			c->ready = c->freed;
			c->freed = m;
			return 0;
		}
	}
	c->ready->n =
		depot_take(t->depot, size_class, c->ready->items, c->capacity ? c->capacity : 1);
	/* Handed out from the end: in the order of addresses. */
	for (uint32_t i = 0, j = c->ready->n; i + 1 < j; i++) {
		const slab_item item = c->ready->items[i];

		c->ready->items[i] = c->ready->items[--j];
		c->ready->items[j] = item;
	}
	return c->ready->n ? 0 : -EAGAIN;
}

bool thread_cache_flush(struct thread_cache *t, unsigned size_class, slab_item item)
{
	struct class_cache *c = &t->classes[size_class];
	const uint64_t period = grace_begin(t->depot->grace);
	bool empties = false;
	uint32_t half;

	if (prepare(t, size_class) || !c->capacity)
		return depot_put(t->depot, size_class, &item, 1, period);
	/* The younger half stays: it is the one that is still in the processor's cache. */
	half = (c->freed->n + 1) / 2;
	if (c->freed->n == c->capacity) {
		empties = depot_put(t->depot, size_class, c->freed->items, half, period);
		c->freed->n -= half;
		memmove(c->freed->items, c->freed->items + half, c->freed->n * sizeof(item));
	}
	c->freed->items[c->freed->n++] = item;
	return empties;
}
