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

/* A slot for objects_hand_out(). Errors as rmem_alloc(). */
int objects_take(struct rmem *rm, unsigned size_class, uint64_t deadline_ns, slab_item *out,
	struct errinfo *errinfo);
/* ... of those that the session has: without a round trip. 0, or -EAGAIN: another slab is needed. */
int objects_take_here(struct rmem *rm, unsigned size_class, slab_item *out);
/* It was not handed out. */
__attribute__((noinline, cold)) void objects_put_back(struct rmem *rm, slab_item item);

/* Write zeroes to an object, or to a part of it. Errors as rmem_write(). */
int objects_zero(struct rmem *rm, rmem_addr_t addr, uint32_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo);

/* slab: that addr is in; caller: as in a wish. Errors as rmem_free(). */
int objects_free(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	struct errinfo *errinfo);

/* Its object is freed, and nobody else reaches it: the slot is for others from now on. */
void objects_retire(struct rmem *rm, struct slab *slab, uint32_t slot, void *caller);

/* The slab was lost while an object of it was freed. */
__attribute__((noinline, cold)) void objects_freed_late(struct rmem *rm, struct slab *slab);

/* The slab was lost while an object of it was handed out: it was not. Returns false. */
__attribute__((noinline, cold)) bool objects_take_back(
	struct rmem *rm, struct slab *slab, rmem_addr_t addr);

/*
 * The slot is the program's from now on. is_warm: it is from objects_take_warm(), so that no fence is needed. false: its
 * slab was lost meanwhile.
 */
static inline __attribute__((always_inline)) bool objects_hand_out(struct rmem *rm, slab_item item,
	const struct object_wish *wish, bool is_warm, struct object *out)
{
	struct slab *const s = slab_item_slab(item);
	const uint32_t slot = slab_item_slot(item);
	const uint64_t before = atomic_load_explicit(&s->records[slot], memory_order_relaxed);
	const struct object_record r = {
		.state = OBJECT_LIVE,
		.generation = (uint32_t)(before >> OBJECT_GENERATION_SHIFT) + 1,
		.slack = s->slot_bytes - wish->bytes,
		.site = wish->site,
		.birth_s = session_age_s(&rm->session),
	};

	out->slab = s;
	out->addr = slab_slot_addr(s, slot);
	out->zero = before == 0;
	atomic_store_explicit(&s->records[slot],
		slab_next_record(s, slot, before, object_record_pack(&r)), memory_order_release);
	if (is_warm)
		depot_touch_warm(&rm->session.depot, s, slot);
	else
		depot_touch(&rm->session.depot, s, slot);
	/* Marking it lost makes a barrier between that and counting what is live: the one of us sees the other. */
	if (__builtin_expect(slab_is_lost(s), 0))
		return objects_take_back(rm, s, out->addr);
	return true;
}

/* As objects_take(). false: none is warm. */
static inline bool objects_take_warm(struct rmem *rm, unsigned size_class, slab_item *out)
{
	struct thread_cache *t = thread_channels_cache_now(&rm->channels);

	if (__builtin_expect(!t, 0))
		return false;
	while (__builtin_expect(!thread_cache_pop(t, size_class, out), 0))
		if (thread_cache_refill(t, size_class))
			return false;
	if (__builtin_expect(!slab_is_lost(slab_item_slab(*out)), 1))
		return true;
	objects_put_back(rm, *out);
	return false;
}

/* The slab that addr is in, mostly that of the object that the thread freed last. */
static inline struct slab *objects_slab(
	const struct rmem *rm, struct thread_cache *t, rmem_addr_t addr)
{
	struct slab *s = t->near;

	if (s && addr - s->addr < (uint64_t)s->slots * s->slot_bytes)
		return s;
	return t->near = blocks_slab(&rm->session.blocks, addr);
}

/* false: it is not warm, or there is no object; nothing has changed. */
static inline bool objects_free_warm(struct rmem *rm, rmem_addr_t addr)
{
	struct thread_cache *t = thread_channels_cache_now(&rm->channels);
	struct slab *s = t ? objects_slab(rm, t, addr) : NULL;
	uint32_t slot;

	if (!s)
		return false;
	if (__builtin_expect(!thread_cache_has_room(t, s->size_class) || slab_is_lost(s) ||
				     slab_is_shared(s, addr),
		    0) ||
		__builtin_expect(!slab_end_object(s, addr, &slot), 0))
		return false;
	depot_touch_warm(&rm->session.depot, s, slot);
	thread_cache_push(t, s->size_class, slab_item_make(s, slot));
	if (__builtin_expect(slab_is_lost(s), 0))
		objects_freed_late(rm, s);
	return true;
}

#endif
