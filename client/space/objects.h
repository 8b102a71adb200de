/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small allocations: objects in slabs (common/size_class.h). A warm one is local: a slot from the thread's magazine,
 * and its record. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_OBJECTS_H
#define RMEM_CLIENT_SPACE_OBJECTS_H

#include <time.h>

#include "client/space/call.h"

/* An object as it is asked for. */
struct object_wish {
	unsigned size_class;
	uint32_t bytes; /* 1 to those of the class */
	uint32_t site;
	void *caller; /* the program's code that allocates, for RMEM_CHECK; NULL: unknown */
};

struct object {
	struct slab *slab;
	rmem_addr_t addr;
	bool zero; /* its bytes are known to be zero */
};

/* Errors as rmem_alloc(). */
int objects_alloc(struct rmem *rm, const struct object_wish *wish, uint64_t deadline_ns,
	struct object *out, struct errinfo *errinfo);

/* Write zeroes to an object that was just allocated; it is freed if that fails. Errors as rmem_write(). */
int objects_zero(struct rmem *rm, const struct object *object, uint32_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo);

/* slab: that addr is in; caller: as in a wish. Errors as rmem_free(). */
int objects_free(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	struct errinfo *errinfo);

/* The slab was lost while an object of it was freed. */
__attribute__((noinline, cold)) void objects_freed_late(struct rmem *rm, struct slab *slab);

/* The slot is the program's from now on. */
static inline void objects_hand_out(
	struct rmem *rm, slab_item item, const struct object_wish *wish, struct object *out)
{
	struct slab *const s = slab_item_slab(item);
	const uint32_t slot = slab_item_slot(item), age_s = session_age_s(&rm->session);
	const uint64_t before = atomic_load_explicit(&s->records[slot], memory_order_relaxed);
	struct object_record r = {
		.state = OBJECT_LIVE,
		.generation = (uint32_t)(before >> OBJECT_GENERATION_SHIFT) + 1,
		.slack = s->slot_bytes - wish->bytes,
		.site = wish->site,
		.birth_s = age_s < OBJECT_BIRTH_MAX ? age_s : OBJECT_BIRTH_MAX,
	};

	slab_make_next(s, slot, before, &r);
	out->slab = s;
	out->addr = slab_slot_addr(s, slot);
	out->zero = before == 0;
	atomic_store_explicit(&s->records[slot], object_record_pack(&r), memory_order_release);
	depot_touch(&rm->session.depot, s, slot);
}

/* false: it is not warm. */
static inline bool objects_alloc_warm(
	struct rmem *rm, const struct object_wish *wish, struct object *out)
{
	struct thread_cache *t = thread_channels_cache_now(&rm->channels);
	slab_item item;

	if (__builtin_expect(!t, 0))
		return false;
	while (__builtin_expect(!thread_cache_pop(t, wish->size_class, &item), 0))
		if (thread_cache_refill(t, wish->size_class))
			return false;
	if (__builtin_expect(slab_is_lost(slab_item_slab(item)), 0))
		return false;
	objects_hand_out(rm, item, wish, out);
	return true;
}

/* false: it is not warm, or there is no object; nothing has changed. */
static inline bool objects_free_warm(struct rmem *rm, struct slab *s, rmem_addr_t addr)
{
	struct thread_cache *t = thread_channels_cache_now(&rm->channels);
	uint32_t slot;

	if (__builtin_expect(!t || !thread_cache_has_room(t, s->size_class) || slab_is_lost(s) ||
				     slab_is_shared(s, addr),
		    0) ||
		__builtin_expect(!slab_end_object(s, addr, &slot), 0))
		return false;
	depot_touch(&rm->session.depot, s, slot);
	thread_cache_push(t, s->size_class, slab_item_make(s, slot));
	if (__builtin_expect(slab_is_lost(s), 0))
		objects_freed_late(rm, s);
	return true;
}

#endif
