/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem_alloc() and rmem_free() where they are warm (client/space/quick.h). All else is a call at the end, with the
 * arguments in the registers that they came in, so that neither needs a frame: this file is built without frame
 * pointers.
 */
#include "client/api/alloc.h"
#include "client/data/fastpath.h"
#include "client/space/objects.h"
#include "client/space/quick.h"

/* As alloc_long(), after thread_channels_quick(): attr is NULL. */
typedef int alloc_fn(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr,
	rmem_addr_t *out, void *caller, void *frame);

static alloc_fn alloc_sited;

/* The magazine has run out, mostly: then once more, with other slots. Else its slot may have been shared. */
static __attribute__((noinline)) int alloc_refilled(struct rmem *rm, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out, void *caller, void *frame)
{
	struct thread_cache *const t = thread_channel_now.cache;
	const unsigned size_class = size_class_of_bytes((uint32_t)bytes);

	if (!bytes || *t->classes[size_class].ready || thread_cache_refill(t, size_class))
		return alloc_long(rm, bytes, attr, out, caller, frame);
	return alloc_sited(rm, bytes, attr, out, caller, frame);
}

/* QUICK_RARE: *out is the object. false: its slab was lost, and the slot is not the program's. */
static inline bool end_rare(
	struct rmem *rm, const struct thread_cache *t, unsigned size_class, rmem_addr_t *out)
{
	const slab_item item = quick_last(t, size_class);

	if (!objects_allocated_rare(rm, item))
		return false;
	*out = slab_slot_addr(slab_item_slab(item), slab_item_slot(item));
	return true;
}

static __attribute__((noinline, cold)) int alloc_rare(struct rmem *rm, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out, void *caller, void *frame)
{
	if (!end_rare(rm, thread_channel_now.cache, size_class_of_bytes((uint32_t)bytes), out))
		return alloc_long(rm, bytes, attr, out, caller, frame);
	return 0;
}

/*
 * It has a site, or is longer than the finest classes. The site is looked up first: a slot that is in the thread's
 * magazine by now is of the session that the numbers of sites are of, or of an earlier one, which is lost.
 */
static __attribute__((noinline)) int alloc_sited(struct rmem *rm, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out, void *caller, void *frame)
{
	struct thread_cache *const t = thread_channel_now.cache;
	uint64_t site = 0;
	enum quick done;

	if (unlikely(bytes - 1 >= OBJECT_BYTES_MAX) || unlikely(!out))
		return alloc_long(rm, bytes, attr, out, caller, frame);
	if (t->sites && unlikely(!site_cache_find(
				t->sites, caller, frame, session_numbering(&rm->session), &site)))
		return alloc_long(rm, bytes, attr, out, caller, frame);
	done = quick_alloc(&rm->session, &t->classes[size_class_of_bytes((uint32_t)bytes)],
		(uint32_t)bytes, site, out);
	if (likely(done == QUICK_DONE))
		return 0;
	if (done == QUICK_NOT)
		return alloc_refilled(rm, bytes, attr, out, caller, frame);
	return alloc_rare(rm, bytes, attr, out, caller, frame);
}

/* A stack is told by where its frame ends, which takes no register. */
#define HERE __builtin_return_address(0), __builtin_dwarf_cfa()

RMEM_API __attribute__((noinline)) int rmem_alloc(
	struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	struct thread_cache *t;
	enum quick done;

	if (unlikely(!rm) || unlikely(!thread_channels_quick(rm->session.vitals, &t)) ||
		unlikely(attr))
		return alloc_long(rm, bytes, attr, out, HERE);
	if (bytes > t->plain_bytes || unlikely(!out))
		return alloc_sited(rm, bytes, NULL, out, HERE);
	/* 0 bytes are of class 0, of which there is no slot. */
	done = quick_alloc(&rm->session, &t->classes[(bytes + 7) / 8], (uint32_t)bytes, 0, out);
	if (likely(done == QUICK_DONE))
		return 0;
	if (done == QUICK_NOT)
		return alloc_refilled(rm, bytes, NULL, out, HERE);
	return alloc_rare(rm, bytes, NULL, out, HERE);
}

bool alloc_warm(struct rmem *rm, size_t bytes, void *caller, void *frame, rmem_addr_t *out)
{
	const unsigned size_class = size_class_of_bytes((uint32_t)bytes);
	struct thread_cache *t;
	uint64_t site = 0;
	enum quick done;

	if (bytes - 1 >= OBJECT_BYTES_MAX || !thread_channels_quick(rm->session.vitals, &t))
		return false;
	if (!*t->classes[size_class].ready && thread_cache_refill(t, size_class))
		return false;
	if (t->sites &&
		!site_cache_find(t->sites, caller, frame, session_numbering(&rm->session), &site))
		return false;
	done = quick_alloc(&rm->session, &t->classes[size_class], (uint32_t)bytes, site, out);
	return done == QUICK_DONE || (done == QUICK_RARE && end_rare(rm, t, size_class, out));
}

/* It is in a slab that the thread does not remember, or the magazine is full, mostly. */
static __attribute__((noinline)) int free_otherwise(struct rmem *rm, rmem_addr_t addr, void *caller)
{
	if (rm && call_is_ours(rm) && objects_free_warm(rm, addr))
		return 0;
	return free_long(rm, addr, caller);
}

static __attribute__((noinline, cold)) int free_rare(struct rmem *rm, struct slab *slab)
{
	objects_freed_rare(rm, slab);
	return 0;
}

RMEM_API int rmem_free(struct rmem *rm, rmem_addr_t addr)
{
	struct thread_cache *t;
	enum quick done = QUICK_NOT;

	if (likely(rm && thread_channels_quick(rm->session.vitals, &t)))
		done = quick_free(t, addr);
	if (likely(done == QUICK_DONE))
		return 0;
	if (done == QUICK_RARE)
		return free_rare(rm, thread_cache_near(t, addr)->slab);
	return free_otherwise(rm, addr, __builtin_return_address(0));
}

bool free_warm(struct rmem *rm, rmem_addr_t addr)
{
	struct thread_cache *t;
	enum quick done = QUICK_NOT;

	if (thread_channels_quick(rm->session.vitals, &t))
		done = quick_free(t, addr);
	if (done == QUICK_RARE)
		objects_freed_rare(rm, thread_cache_near(t, addr)->slab);
	return done != QUICK_NOT || objects_free_warm(rm, addr);
}
