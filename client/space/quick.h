/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The short way of a warm allocation and a warm free: the thread's magazine has a slot, or room for one, the slab is the
 * same as the last time, and there is nothing rare about it. All other calls take the ways of client/space/objects.h, which
 * begin anew.
 *
 * What is rare is folded into few words, each of which is looked at once: whether this thread may come here at all
 * (thread_channels_quick()), the slab's state, and in a magazine a word that is no slot, or one with a mark. Nothing here
 * needs the stack or calls anything, so that the public calls are leaves: each instruction counts (bench/README.md).
 *
 * The thread.
 */
#ifndef RMEM_CLIENT_SPACE_QUICK_H
#define RMEM_CLIENT_SPACE_QUICK_H

#include "client/control/session.h"
#include "client/slabs/thread_cache.h"

enum quick {
	QUICK_NOT, /* nothing has changed */
	QUICK_DONE,
	QUICK_RARE, /* done, and the slab's state says that there is more to do */
};

/*
 * c: of the bytes' class; site: as of a record. *out: written if it is QUICK_DONE. The statements are in an order in
 * which the registers of x86-64 that a function need not save are enough.
 */
static inline __attribute__((always_inline)) enum quick quick_alloc(const struct session *session,
	struct class_cache *c, uint32_t bytes, uint64_t site, uint64_t *out)
{
	const slab_item item = *c->ready;
	struct slab *s;
	_Atomic uint64_t *record;
	uint64_t next, slot;

	if (__builtin_expect(slab_item_is_rare(item), 0))
		return QUICK_NOT;
	c->ready--;
	s = slab_item_slab_usual(item);
	slot = slab_item_slot(item);
	record = &s->records[slot];
	next = object_record_next(
		atomic_load_explicit(record, memory_order_relaxed), s->slot_bytes - bytes, site);
	atomic_store_explicit(record, next | session_birth(session), memory_order_release);
	/* gcc must not divide the slot before this point: the quotient would take one register too many. */
	__asm__("" : "+r"(slot));
	depot_touch_line(&s->dirty[slot / SLAB_LINE_RECORDS]);
	/*
	 * A barrier separates marking the slab as lost from counting its live records: either this thread sees SLAB_LOST,
	 * or the count sees this record.
	 */
	if (__builtin_expect(slab_state(s) & (SLAB_LOST | SLAB_CLEAN), 0))
		return QUICK_RARE;
	*out = s->addr + slot * s->slot_bytes;
	return QUICK_DONE;
}

/* QUICK_RARE: the slot that was taken. */
static inline slab_item quick_last(const struct thread_cache *t, unsigned size_class)
{
	return t->classes[size_class].ready[1];
}

/* QUICK_RARE: of the slab of thread_cache_near(). */
static inline __attribute__((always_inline)) enum quick quick_free(
	struct thread_cache *t, uint64_t addr)
{
	const struct near_slab *const near = thread_cache_near(t, addr);
	const uint64_t slot = slab_exact_slot(addr - near->addr, near->inverse, near->twos);
	struct slab *const s = near->slab;
	slab_item *to;

	if (__builtin_expect(slot >= near->slots, 0))
		return QUICK_NOT;
	to = near->cache->freed;
	if (__builtin_expect(to == near->cache->full, 0) ||
		__builtin_expect(slab_state(s) != near->state, 0) ||
		__builtin_expect(!slab_end_slot(s, slot), 0))
		return QUICK_NOT;
	depot_touch_line(&near->dirty[slot / SLAB_LINE_RECORDS]);
	*to = near->first | slot;
	near->cache->freed = to + 1;
	return __builtin_expect(slab_state(s) & (SLAB_LOST | SLAB_CLEAN), 0) ? QUICK_RARE
									     : QUICK_DONE;
}

#endif
