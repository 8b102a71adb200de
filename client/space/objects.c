/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/objects.h"

#include <errno.h>
#include <inttypes.h>

#include "client/data/keys.h"
#include "client/space/checking.h"
#include "client/space/memory.h"
#include "client/space/perform.h"

/* ---- allocating ---- */

void objects_put_back(struct rmem *rm, slab_item item)
{
	const unsigned size_class = slab_item_slab(item)->size_class;

	(void)depot_put(&rm->session.depot, size_class, &item, 1, 0);
}

static int ask_for_slab(struct rmem *rm, unsigned size_class, uint64_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct depot *d = &rm->session.depot;
	struct slab *s = depot_make_slab(d, size_class, bytes, rm->session.exact);
	struct memory_wish wish = { .bytes = bytes, .slab = s };
	rmem_addr_t addr;
	int rc;

	if (!s)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	rc = memory_alloc(rm, &wish, deadline_ns, &addr, errinfo);
	if (rc)
		depot_cancel(d, s);
	return rc;
}

/* Another slab of the class; a short one where there is no room for more. */
static int grow(struct rmem *rm, unsigned size_class, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const uint64_t usual = depot_next_bytes(&rm->session.depot, size_class);
	const uint64_t least = depot_least_bytes(size_class);
	int rc = slab_thread_start(&rm->slab_thread, errinfo);

	if (rc == 0)
		rc = ask_for_slab(rm, size_class, usual, deadline_ns, errinfo);
	if ((rc == -ENOSPC || rc == -EDQUOT) && least < usual)
		rc = ask_for_slab(rm, size_class, least, deadline_ns, errinfo);
	return rc;
}

int objects_take_here(struct rmem *rm, unsigned size_class, slab_item *out)
{
	struct thread_cache *t = thread_channels_cache(&rm->channels);
	int rc = 0;

	while (t && rc == 0) {
		while (thread_cache_pop(t, size_class, out)) {
			if (!slab_is_lost(slab_item_slab(*out)))
				return 0;
			objects_put_back(rm, *out);
		}
		rc = thread_cache_refill(t, size_class);
	}
	/* Without memory for magazines: one by one. */
	if (rc != -EAGAIN && depot_take(&rm->session.depot, size_class, out, 1))
		return 0;
	return -EAGAIN;
}

int objects_take(struct rmem *rm, unsigned size_class, uint64_t deadline_ns, slab_item *out,
	struct errinfo *errinfo)
{
	int rc;

	session_note_age(&rm->session);
	while ((rc = objects_take_here(rm, size_class, out)) == -EAGAIN) {
		rc = grow(rm, size_class, deadline_ns, errinfo);
		if (rc)
			return rc;
	}
	return rc;
}

/* A slab was lost while an object of it was handed out: it was not. */
static void take_back(struct rmem *rm, struct slab *s, uint32_t slot)
{
	const bool ended = slab_end_slot(s, slot);

	objects_freed_late(rm, s);
	if (ended)
		objects_put_back(rm, slab_item_make(s, slot));
}

bool objects_hand_out(
	struct rmem *rm, slab_item item, const struct object_wish *wish, struct object *out)
{
	struct slab *const s = slab_item_slab(item);
	const uint32_t slot = slab_item_slot(item), slack = s->slot_bytes - wish->bytes;
	const uint64_t before = slab_record(s, slot);
	const uint64_t record =
		object_record_next(before, slack, wish->site) | session_birth(&rm->session);

	*out = (struct object){ .slab = s, .addr = slab_slot_addr(s, slot), .zero = before == 0 };
	atomic_store_explicit(
		&s->records[slot], slab_next_record(s, slot, before, record), memory_order_release);
	depot_touch(&rm->session.depot, s, slot);
	/* Marking it lost makes a barrier between that and counting what is live: the one of us sees the other. */
	if (!slab_is_lost(s))
		return true;
	take_back(rm, s, slot);
	return false;
}

bool objects_allocated_rare(struct rmem *rm, slab_item item)
{
	struct slab *const s = slab_item_slab(item);

	if (slab_state(s) & SLAB_CLEAN)
		depot_add_dirty(&rm->session.depot, s);
	if (!slab_is_lost(s))
		return true;
	take_back(rm, s, slab_item_slot(item));
	return false;
}

int objects_zero(struct rmem *rm, rmem_addr_t addr, uint32_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	static const uint8_t zeroes[OBJECT_BYTES_MAX];
	struct operation op = { .kind = OPERATION_WRITE,
		.timed = true,
		.deadline_ns = deadline_ns,
		.as_of = keys_as_of(&rm->session) };
	/* Only read. */
	int rc = operation_plan_one(&op, (void *)(uintptr_t)zeroes, addr, bytes, errinfo);

	return rc ? rc : perform(rm, &op, errinfo);
}

/* ---- freeing ---- */

static int explain_free(const struct slab *s, rmem_addr_t addr, struct errinfo *errinfo)
{
	const uint32_t slot = slab_slot_at(s, addr - s->addr);
	const rmem_addr_t start = slab_slot_addr(s, slot);

	if (slot < s->slots && start != addr &&
		object_record_state(slab_record(s, slot)) == OBJECT_LIVE)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is inside the allocation at 0x%" PRIx64
			", not its beginning",
			addr, start);
	return errinfo_set(
		errinfo, -EINVAL, "0x%" PRIx64 " was freed already or was never allocated", addr);
}

/* With the table: the slab's block, if it still is; else NULL. */
static struct block *block_of(struct session *session, const struct slab *s)
{
	struct block *block = blocks_find(&session->blocks, s->addr);

	return block && block->slab == s ? block : NULL;
}

/* An object of a slab that was lost: the program gives its address up. */
static int free_lost(struct rmem *rm, struct slab *s, rmem_addr_t addr, struct errinfo *errinfo)
{
	struct session *session = &rm->session;
	struct block *block;
	bool ended;
	uint32_t slot;
	int rc;

	pthread_mutex_lock(&session->table);
	block = block_of(session, s);
	ended = block && block->state == BLOCK_STALE && slab_end_object(s, addr, &slot);
	if (ended) {
		blocks_free_lost(&session->blocks, block, true);
		rc = errinfo_set(errinfo, -ESTALE,
			"the allocation at 0x%" PRIx64
			" was gone already: the lease had ended and the "
			"server has reclaimed it",
			addr);
	} else {
		rc = explain_free(s, addr, errinfo);
	}
	pthread_mutex_unlock(&session->table);
	/* Last: from here on it may become another slab. */
	if (ended)
		objects_put_back(rm, slab_item_make(s, slot));
	return rc;
}

void objects_freed_late(struct rmem *rm, struct slab *slab)
{
	struct session *session = &rm->session;
	struct block *block;

	pthread_mutex_lock(&session->table);
	block = block_of(session, slab);
	if (block && block->state == BLOCK_STALE)
		blocks_free_lost(&session->blocks, block, false);
	pthread_mutex_unlock(&session->table);
}

void objects_freed_rare(struct rmem *rm, struct slab *slab)
{
	if (slab_state(slab) & SLAB_CLEAN)
		depot_add_dirty(&rm->session.depot, slab);
	if (slab_is_lost(slab))
		objects_freed_late(rm, slab);
}

/* What was an object's is in the thread's magazine, or with the depot. t: NULL if there is no memory for one. */
static void take_over(struct rmem *rm, struct thread_cache *t, struct slab *slab, uint32_t slot)
{
	struct depot *d = &rm->session.depot;
	const slab_item item = slab_item_make(slab, slot);
	bool surplus = false;

	depot_touch(d, slab, slot);
	if (!t)
		surplus = depot_put(d, slab->size_class, &item, 1, grace_begin(d->grace));
	else if (thread_cache_has_room(t, slab->size_class))
		thread_cache_push(t, slab->size_class, item);
	else
		surplus = thread_cache_flush(t, slab->size_class, item);
	if (slab_is_lost(slab))
		objects_freed_late(rm, slab);
	if (surplus)
		slab_thread_wake(&rm->slab_thread);
}

bool objects_free_warm(struct rmem *rm, rmem_addr_t addr)
{
	struct thread_cache *const t = thread_channels_cache_now(&rm->channels);
	struct slab *const slab = t ? blocks_slab(&rm->session.blocks, addr) : NULL;
	uint32_t slot;

	if (!slab || slab_is_lost(slab) || slab_is_shared(slab, addr))
		return false;
	thread_cache_note(t, slab, addr);
	if (!slab_end_object(slab, addr, &slot))
		return false;
	take_over(rm, t, slab, slot);
	return true;
}

int objects_free(
	struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller, struct errinfo *errinfo)
{
	uint32_t slot;

	if (slab_is_lost(slab))
		return free_lost(rm, slab, addr, errinfo);
	if (!slab_end_object(slab, addr, &slot))
		return explain_free(slab, addr, errinfo);
	objects_retire(rm, slab, slot, caller);
	return 0;
}

void objects_retire(struct rmem *rm, struct slab *slab, uint32_t slot, void *caller)
{
	if (!checking_is_full(rm)) {
		take_over(rm, thread_channels_cache(&rm->channels), slab, slot);
		return;
	}
	depot_touch(&rm->session.depot, slab, slot);
	checking_retire(rm, slab, slot, caller);
	if (slab_is_lost(slab))
		objects_freed_late(rm, slab);
}
