/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/slabs/thread_cache.h"

#include <errno.h>
#include <string.h>

static const slab_item no_item;

struct thread_cache *thread_cache_create(struct depot *d)
{
	struct thread_cache *t = heap_alloc(d->heap, sizeof(*t));

	if (!t)
		return NULL;
	t->depot = d;
	for (unsigned i = 0; i < SIZE_CLASSES; i++)
		t->classes[i].ready = &no_item;
	return t;
}

void thread_cache_destroy(struct thread_cache *t)
{
	struct heap *heap;

	if (!t)
		return;
	heap = t->depot->heap;
	for (unsigned i = 0; i < SIZE_CLASSES; i++) {
		heap_free(heap, t->magazines[i].ready, sizeof(struct magazine));
		heap_free(heap, t->magazines[i].freed, sizeof(struct magazine));
	}
	heap_free(heap, t, sizeof(*t));
}

/* ---- how many there are: of a class whose magazines are there ---- */

static uint32_t count_ready(const struct thread_cache *t, unsigned size_class)
{
	return (uint32_t)(t->classes[size_class].ready - t->magazines[size_class].ready->items);
}

static void set_ready(struct thread_cache *t, unsigned size_class, uint32_t n)
{
	t->classes[size_class].ready = t->magazines[size_class].ready->items + n;
}

static uint32_t count_freed(const struct thread_cache *t, unsigned size_class)
{
	return (uint32_t)(t->classes[size_class].freed - &t->magazines[size_class].freed->items[1]);
}

static void set_freed(struct thread_cache *t, unsigned size_class, uint32_t n)
{
	struct class_cache *c = &t->classes[size_class];

	c->freed = &t->magazines[size_class].freed->items[1 + n];
	c->full = &t->magazines[size_class].freed->items[1 + c->capacity];
}

bool thread_cache_drain(struct thread_cache *t)
{
	const uint64_t period = grace_begin(t->depot->grace);
	bool empties = false;

	for (unsigned i = 0; i < SIZE_CLASSES; i++) {
		const struct class_magazines *m = &t->magazines[i];

		if (!m->ready || !m->freed)
			continue;
		empties |= depot_put(t->depot, i, &m->ready->items[1], count_ready(t, i), 0);
		empties |= depot_put(t->depot, i, &m->freed->items[1], count_freed(t, i), period);
		set_ready(t, i, 0);
		set_freed(t, i, 0);
	}
	return empties;
}

void thread_cache_note(struct thread_cache *t, struct slab *s, uint64_t addr)
{
	const uint32_t state = atomic_load_explicit(&s->state, memory_order_acquire);
	const struct near_slab near = { .addr = s->addr,
		.inverse = s->inverse,
		.twos = s->twos,
		.slots = s->slots,
		.state = state & ~(uint32_t)SLAB_RARE,
		.first = slab_item_plain(s, 0),
		.slab = s,
		.dirty = s->dirty,
		.cache = &t->classes[s->size_class] };

	/* It becomes another one only while it is lost, and is used once more then. */
	atomic_thread_fence(memory_order_acquire);
	if (!(state & SLAB_LOST) && (slab_state(s) | SLAB_RARE) == (state | SLAB_RARE))
		*thread_cache_near(t, addr) = near;
}

/* How many slots fit this many bytes. */
static uint32_t fit(unsigned size_class, uint32_t bytes)
{
	const uint32_t n = bytes / size_class_bytes(size_class);

	return n > MAGAZINE_ITEMS_MAX ? MAGAZINE_ITEMS_MAX : n;
}

static int prepare(struct thread_cache *t, unsigned size_class)
{
	struct class_magazines *m = &t->magazines[size_class];

	if (m->ready && m->freed)
		return 0;
	if (!m->ready)
		m->ready = heap_alloc(t->depot->heap, sizeof(*m->ready));
	if (!m->freed)
		m->freed = heap_alloc(t->depot->heap, sizeof(*m->freed));
	if (!m->ready || !m->freed)
		return -ENOMEM;
	t->classes[size_class].capacity = fit(size_class, MAGAZINE_BYTES_MIN);
	set_ready(t, size_class, 0);
	set_freed(t, size_class, 0);
	return 0;
}

/* A magazine is empty or full: where that happens often, it gets larger. true: it has. */
static bool count_trip(struct thread_cache *t, unsigned size_class)
{
	struct class_cache *c = &t->classes[size_class];
	uint32_t most, more;

	if (++c->trips < MAGAZINE_TRIPS)
		return false;
	most = fit(size_class, MAGAZINE_BYTES_MAX);
	more = c->capacity * 2;
	c->trips = 0;
	c->capacity = more < most ? more + !more : most;
	set_freed(t, size_class, count_freed(t, size_class));
	return true;
}

/* What was freed is ready, and what was ready is empty. */
static void swap(struct thread_cache *t, unsigned size_class)
{
	struct class_magazines *m = &t->magazines[size_class];
	struct magazine *const freed = m->freed;
	const uint32_t n = count_freed(t, size_class);

	m->freed = m->ready;
	m->ready = freed;
	set_ready(t, size_class, n);
	set_freed(t, size_class, 0);
}

/* From the depot, on top of those that are ready. They are handed out from the end: in the order of addresses. */
static void take_more(struct thread_cache *t, unsigned size_class)
{
	const uint32_t capacity = t->classes[size_class].capacity;
	const uint32_t n = count_ready(t, size_class), most = capacity ? capacity : 1;
	slab_item *const items = &t->magazines[size_class].ready->items[1 + n];
	const uint32_t more = n < most ? depot_take(t->depot, size_class, items, most - n) : 0;

	for (uint32_t i = 0, j = more; i + 1 < j; i++) {
		const slab_item item = items[i];

		items[i] = items[--j];
		items[j] = item;
	}
	set_ready(t, size_class, n + more);
}

int thread_cache_refill(struct thread_cache *t, unsigned size_class)
{
	const int rc = prepare(t, size_class);
	bool larger;

	if (rc)
		return rc;
	larger = count_trip(t, size_class);
	if (!count_freed(t, size_class) || !grace_is_over(t->depot->grace)) {
		take_more(t, size_class);
		return *t->classes[size_class].ready ? 0 : -EAGAIN;
	}
	swap(t, size_class);
	/* Slots that the thread has freed do not fill a magazine that has become larger: the depot's do. */
	if (larger)
		take_more(t, size_class);
	return 0;
}

bool thread_cache_flush(struct thread_cache *t, unsigned size_class, slab_item item)
{
	struct class_cache *c = &t->classes[size_class];
	const uint64_t period = grace_begin(t->depot->grace);
	bool empties = false;
	slab_item *items;
	uint32_t n, half;

	if (prepare(t, size_class) || !c->capacity)
		return depot_put(t->depot, size_class, &item, 1, period);
	items = &t->magazines[size_class].freed->items[1];
	n = count_freed(t, size_class);
	/* The younger half stays: it is the one that is still in the processor's cache. */
	if (n == c->capacity) {
		half = (n + 1) / 2;
		empties = depot_put(t->depot, size_class, items, half, period);
		n -= half;
		memmove(items, items + half, n * sizeof(item));
	}
	items[n] = item;
	set_freed(t, size_class, n + 1);
	return empties;
}
