/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/slabs.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "client/slabs/thread_cache.h"

#define REGION_BYTES (1ULL << 33) /* addresses, not memory */

static struct {
	char *region;
	struct slab **slab_of_page;
	uint64_t used, footprint, lent;
	struct grace grace;
	struct depot depot;
} pool;

static __thread struct thread_cache *cache;

static void *map(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int slabs_open(void)
{
	struct heap *heap;

	if (pool.region)
		return 0;
	heap = heap_create();
	pool.slab_of_page = map(REGION_BYTES / SLAB_PAGE_BYTES * sizeof(*pool.slab_of_page));
	if (!heap || !pool.slab_of_page)
		return -ENOMEM;
	grace_init(&pool.grace);
	depot_init(&pool.depot, heap, &pool.grace);
	pool.region = map(REGION_BYTES);
	return pool.region ? 0 : -ENOMEM;
}

/* ---- what a server does ---- */

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + SLAB_PAGE_BYTES - 1) & ~(uint64_t)(SLAB_PAGE_BYTES - 1);
}

static char *run_get(uint64_t bytes, uint64_t align)
{
	const uint64_t at = (pool.used + align - 1) & ~(align - 1);

	if (at > REGION_BYTES || bytes > REGION_BYTES - at)
		return NULL;
	pool.used = at + bytes;
	pool.footprint += bytes;
	return pool.region + at;
}

static void run_put(char *run, uint64_t bytes)
{
	madvise(run, bytes, MADV_DONTNEED);
	pool.footprint -= bytes;
}

/* ---- slabs ---- */

static struct slab **slab_at(const char *p)
{
	return &pool.slab_of_page[(uint64_t)(p - pool.region) / SLAB_PAGE_BYTES];
}

static char *memory_of(const struct slab *s)
{
	return (char *)(uintptr_t)s->addr;
}

static void set_slab_of_pages(const struct slab *s, struct slab *to)
{
	for (uint64_t at = 0; at < slab_bytes_used(s); at += SLAB_PAGE_BYTES)
		*slab_at(memory_of(s) + at) = to;
}

static bool add_slab(unsigned size_class)
{
	const uint64_t bytes = depot_next_bytes(&pool.depot, size_class);
	struct slab *s = depot_make_slab(&pool.depot, size_class, bytes, false);

	if (!s)
		return false;
	s->addr = (uintptr_t)run_get(bytes, SLAB_PAGE_BYTES);
	if (!s->addr) {
		depot_cancel(&pool.depot, s);
		return false;
	}
	set_slab_of_pages(s, s);
	depot_add(&pool.depot, s);
	pool.lent++;
	return true;
}

static bool give_one_back(void)
{
	struct slab *s = depot_take_empty(&pool.depot);

	if (!s)
		return false;
	set_slab_of_pages(s, NULL);
	run_put(memory_of(s), whole_pages(slab_bytes_used(s)));
	depot_drop(&pool.depot, s);
	return true;
}

static void *slot_get(unsigned size_class)
{
	slab_item item;

	if (!cache)
		cache = thread_cache_create(&pool.depot);
	while (cache && !thread_cache_pop(cache, size_class, &item)) {
		const int rc = thread_cache_refill(cache, size_class);

		if (rc == -ENOMEM || (rc == -EAGAIN && !add_slab(size_class)))
			return NULL;
	}
	return cache ? (void *)(uintptr_t)slab_slot_addr(slab_item_slab(item), slab_item_slot(item))
		     : NULL;
}

static void slot_put(struct slab *s, char *p)
{
	const slab_item item = slab_item_make(s, slab_slot_at(s, (uint64_t)(p - memory_of(s))));

	if (!cache)
		cache = thread_cache_create(&pool.depot);
	if (!cache) {
		depot_put(&pool.depot, s->size_class, &item, 1, 0);
		return;
	}
	if (thread_cache_has_room(cache, s->size_class))
		thread_cache_push(cache, s->size_class, item);
	else if (thread_cache_flush(cache, s->size_class, item))
		while (depot_has_surplus(&pool.depot) && give_one_back())
			continue;
}

/* ---- objects ---- */

void *slabs_alloc(size_t bytes, size_t align)
{
	const unsigned size_class = size_class_of(bytes, align);

	return size_class ? slot_get(size_class)
			  : run_get(whole_pages(bytes),
				    align > SLAB_PAGE_BYTES ? align : SLAB_PAGE_BYTES);
}

void slabs_free(void *p, size_t bytes)
{
	struct slab *s = *slab_at(p);

	if (s)
		slot_put(s, p);
	else
		run_put(p, whole_pages(bytes));
}

void *slabs_resize(void *p, size_t old_bytes, size_t bytes)
{
	const struct slab *s = *slab_at(p);
	const unsigned size_class = size_class_of(bytes, 1);
	void *q;

	if (s ? s->size_class == size_class
	      : size_class == 0 && whole_pages(bytes) == whole_pages(old_bytes))
		return p;
	q = slabs_alloc(bytes, 1);
	if (!q)
		return NULL;
	memcpy(q, p, bytes < old_bytes ? bytes : old_bytes);
	slabs_free(p, old_bytes);
	return q;
}

uint64_t slabs_footprint(void)
{
	return pool.footprint;
}

uint64_t slabs_lent(void)
{
	return pool.lent;
}

void slabs_drain(void)
{
	if (cache)
		thread_cache_drain(cache);
	while (give_one_back())
		continue;
}
