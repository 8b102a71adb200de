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
	uint32_t n;
	slab_item items[MAGAZINE_ITEMS_MAX];
};

struct class_cache {
	struct magazine *ready, *freed; /* NULL: not used yet */
	uint32_t capacity; /* of each; 0: slots come from the depot one by one, and go there */
	uint32_t trips;    /* out of slots since it was changed */
};

struct thread_cache {
	struct depot *depot;
	struct slab *near;              /* that an object was freed in last; NULL: none */
	struct thread_cache *next;      /* of the session's */
	struct thread_cache *next_free; /* of those that no thread has */
	struct class_cache classes[SIZE_CLASSES];
};

/* NULL: out of memory. */
struct thread_cache *thread_cache_create(struct depot *d);
void thread_cache_destroy(struct thread_cache *t); /* drained. NULL is fine */

/* All slots go to the depot. true: it has empty slabs that can be given back. */
bool thread_cache_drain(struct thread_cache *t);

/* A slot that may be handed out. false: thread_cache_refill() comes first. */
static inline bool thread_cache_pop(struct thread_cache *t, unsigned size_class, slab_item *out)
{
	struct magazine *m = t->classes[size_class].ready;

	if (__builtin_expect(!m || !m->n, 0))
		return false;
	*out = m->items[--m->n];
	return true;
}

/* For a slot that is freed. */
static inline bool thread_cache_has_room(const struct thread_cache *t, unsigned size_class)
{
	const struct class_cache *c = &t->classes[size_class];

	return c->freed && c->freed->n < c->capacity;
}

/* A slot was freed, and there is room. */
static inline void thread_cache_push(struct thread_cache *t, unsigned size_class, slab_item item)
{
	struct magazine *m = t->classes[size_class].freed;

	m->items[m->n++] = item;
}

/* Make slots ready: 0, -ENOMEM, or -EAGAIN: the class needs another slab. */
int thread_cache_refill(struct thread_cache *t, unsigned size_class);

/*
 * Make room for slots that are freed, and take this one. true: the depot has an empty slab that can be given back. It
 * cannot fail: without memory for magazines, the slot goes to the depot.
 */
bool thread_cache_flush(struct thread_cache *t, unsigned size_class, slab_item item);

#endif
