/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread's magazines: slots that it may hand out, and slots that it has freed, by class. Only its thread touches
 * them, so that a warm allocation or free takes no lock and no cache line of another thread.
 *
 * A magazine begins small, and doubles each time that it has run out so often: threads that use a class now and then
 * keep little.
 *
 * A slot that was freed is handed out again after a grace period only: operations on it may be on their way, in any
 * thread. Where all channels are idle, that is over at once, and the two magazines change places.
 *
 * The thread; thread_cache_drain() also when the thread has ended. Pure.
 */
#ifndef RMEM_CLIENT_SLABS_THREAD_CACHE_H
#define RMEM_CLIENT_SLABS_THREAD_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "client/slabs/depot.h"

#define MAGAZINE_ITEMS_MAX 64U
#define MAGAZINE_BYTES_MIN 256U  /* of slots, at first, */
#define MAGAZINE_BYTES_MAX 2048U /* ... and at most */
#define MAGAZINE_TRIPS 64U       /* out of slots, until it is doubled */

struct magazine {
	slab_item items[1 + MAGAZINE_ITEMS_MAX]; /* the first is 0: none */
};

/* Begins at places in the two magazines, so that a warm call looks at nothing else. */
struct class_cache {
	const slab_item *ready; /* the slot that is handed out next; 0: there is none */
	slab_item *freed;       /* where the next one goes that is freed, */
	const slab_item *full;  /* ... unless this is reached */
	uint32_t capacity;      /* of each; 0: slots come from the depot one by one, and go there */
	uint32_t trips;         /* out of slots since it was changed */
};

struct class_magazines {
	struct magazine *ready, *freed; /* NULL: not used yet */
};

/*
 * What a free has to know of a slab, as of one moment. It holds as long as the slab's state is the same: a slab may be
 * given back, and its memory become another, while a thread remembers it.
 */
struct near_slab {
	uint64_t addr, inverse;
	uint32_t twos, slots; /* 0 slots: none */
	uint32_t state;       /* none of SLAB_RARE */
	slab_item first;      /* of its slots */
	struct slab *slab;
	_Atomic uint8_t *dirty;
	struct class_cache *cache; /* of its class, the thread's */
} __attribute__((aligned(64)));

#define NEAR_SLABS 64U /* by page */

struct site_cache;

struct thread_cache {
	struct near_slab near[NEAR_SLABS]; /* that objects were freed in last */
	/* Allocations of up to so many bytes take a slot of the finest classes, and nothing else; 0: none does. */
	uint64_t plain_bytes;
	struct site_cache
		*sites; /* of the thread that has this (client/space/site_cache.h); or NULL */
	struct depot *depot;
	struct thread_cache *next;      /* of the session's */
	struct thread_cache *next_free; /* of those that no thread has */
	struct class_cache classes[SIZE_CLASSES];
	struct class_magazines magazines[SIZE_CLASSES];
};

/* NULL: out of memory. */
struct thread_cache *thread_cache_create(struct depot *d);
void thread_cache_destroy(struct thread_cache *t); /* drained. NULL is fine */

/* All slots go to the depot. true: it has empty slabs that can be given back. */
bool thread_cache_drain(struct thread_cache *t);

/* A slot that may be handed out. false: thread_cache_refill() comes first. */
static inline bool thread_cache_pop(struct thread_cache *t, unsigned size_class, slab_item *out)
{
	struct class_cache *c = &t->classes[size_class];
	const slab_item item = *c->ready;

	if (__builtin_expect(!item, 0))
		return false;
	c->ready--;
	*out = item;
	return true;
}

/* For a slot that is freed. */
static inline bool thread_cache_has_room(const struct thread_cache *t, unsigned size_class)
{
	const struct class_cache *c = &t->classes[size_class];

	return c->freed != c->full;
}

/* A slot was freed, and there is room. */
static inline void thread_cache_push(struct thread_cache *t, unsigned size_class, slab_item item)
{
	*t->classes[size_class].freed++ = item;
}

static inline struct near_slab *thread_cache_near(struct thread_cache *t, uint64_t addr)
{
	return &t->near[addr / SLAB_PAGE_BYTES % NEAR_SLABS];
}

/* The object at addr, in this slab, is freed: remember the slab. */
void thread_cache_note(struct thread_cache *t, struct slab *s, uint64_t addr);

/* Make slots ready: 0, -ENOMEM, or -EAGAIN: the class needs another slab. */
int thread_cache_refill(struct thread_cache *t, unsigned size_class);

/*
 * Make room for slots that are freed, and take this one. true: the depot has an empty slab that can be given back. It
 * cannot fail: without memory for magazines, the slot goes to the depot.
 */
bool thread_cache_flush(struct thread_cache *t, unsigned size_class, slab_item item);

#endif
