/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/heap.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <utlist.h>

#include "common/private_memory.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define REGION_BYTES ((size_t)256 << 10)
#define HEADER_BYTES ((size_t)4096) /* of a mapping: what follows begins with a page */
#define GRAIN ((size_t)64)          /* a cache line */
#define STEPS 4                     /* size classes per power of 2 */
#define CLASSES 48

/* A mapping, and what is at its beginning. */
struct region {
	struct region *prev, *next;
	struct private_entry *entry;
	size_t bytes;
};

struct piece {
	struct piece *next;
};

struct heap {
	struct region region; /* first: the mapping that this lies in */
	pthread_mutex_t lock;
	struct region *regions; /* all but that */
	uint8_t *at, *end;      /* what was not handed out yet */
	struct piece *free[CLASSES];
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static struct region *map(size_t bytes)
{
	struct private_entry *entry;
	struct region *r =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED)
		return NULL;
	entry = private_memory_add(r, bytes);
	if (!entry) {
		(void)munmap(r, bytes);
		return NULL;
	}
	/* Neither is needed for anything else: a kernel may have been built without. */
	(void)madvise(r, bytes, MADV_DONTDUMP);
	(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, r, bytes, "rmem");
	r->entry = entry;
	r->bytes = bytes;
	return r;
}

/*
 * It leaves the list of private memory before its addresses can be mapped for something else: a scan must not leave that out.
 * A scan that reads it in between does no harm.
 */
static void unmap(struct region *r)
{
	private_memory_remove(r->entry);
	(void)munmap(r, r->bytes);
}

/* The class of a size, and the size that it hands out: STEPS of them between a power of 2 and the next. */
static unsigned class_of(size_t bytes, size_t *out)
{
	const size_t grains = bytes ? (bytes + GRAIN - 1) / GRAIN : 1;
	unsigned shift, step;

	if (grains <= STEPS) {
		*out = grains * GRAIN;
		return (unsigned)grains - 1;
	}
	/* 2^shift * STEPS < grains <= 2^(shift + 1) * STEPS */
	shift = 63 - (unsigned)__builtin_clzl((grains - 1) / STEPS);
	step = (unsigned)((grains - 1) >> shift) - STEPS;
	*out = ((size_t)(STEPS + step + 1) << shift) * GRAIN;
	return STEPS + shift * STEPS + step;
}

struct heap *heap_create(void)
{
	struct heap *h = (struct heap *)map(REGION_BYTES);

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	h->at = (uint8_t *)h + round_up(sizeof(*h), GRAIN);
	h->end = (uint8_t *)h + REGION_BYTES;
	return h;
}

void heap_destroy(struct heap *h)
{
	struct region *r, *next;

	if (!h)
		return;
	DL_FOREACH_SAFE (h->regions, r, next)
		unmap(r);
	unmap(&h->region);
}

/* One that is given back by itself. */
static void *alloc_mapped(struct heap *h, size_t bytes)
{
	struct region *r = map(round_up(bytes, HEADER_BYTES) + HEADER_BYTES);

	if (!r)
		return NULL;
	pthread_mutex_lock(&h->lock);
	DL_APPEND(h->regions, r);
	pthread_mutex_unlock(&h->lock);
	return (uint8_t *)r + HEADER_BYTES;
}

/* With the lock. What is left of the region before is given up: less than the size that did not fit. */
static bool add_region(struct heap *h)
{
	struct region *r = map(REGION_BYTES);

	if (!r)
		return false;
	DL_APPEND(h->regions, r);
	h->at = (uint8_t *)r + round_up(sizeof(*r), GRAIN);
	h->end = (uint8_t *)r + REGION_BYTES;
	return true;
}

void *heap_alloc(struct heap *h, size_t bytes)
{
	struct piece *p;
	unsigned class;
	size_t size;

	if (bytes >= HEAP_MAPPED_MIN)
		return bytes > SIZE_MAX - 2 * HEADER_BYTES ? NULL : alloc_mapped(h, bytes);
	class = class_of(bytes, &size);
	pthread_mutex_lock(&h->lock);
	p = h->free[class];
	if (p) {
		h->free[class] = p->next;
	} else if ((size_t)(h->end - h->at) >= size || add_region(h)) {
		p = (struct piece *)h->at;
		h->at += size;
	}
	pthread_mutex_unlock(&h->lock);
	return p ? memset(p, 0, size) : NULL;
}

void heap_free(struct heap *h, void *p, size_t bytes)
{
	struct piece *piece = p;
	struct region *r;
	size_t size;

	if (!p)
		return;
	pthread_mutex_lock(&h->lock);
	if (bytes >= HEAP_MAPPED_MIN) {
		r = (struct region *)((uint8_t *)p - HEADER_BYTES);
		DL_DELETE(h->regions, r);
		unmap(r);
	} else {
		struct piece **list = &h->free[class_of(bytes, &size)];

		piece->next = *list;
		*list = piece;
	}
	pthread_mutex_unlock(&h->lock);
}

void *heap_grow(struct heap *h, void *p, size_t old_bytes, size_t bytes)
{
	void *bigger = heap_alloc(h, bytes);

	if (bigger && p)
		memcpy(bigger, p, old_bytes < bytes ? old_bytes : bytes);
	if (bigger)
		heap_free(h, p, old_bytes);
	return bigger;
}
