/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that allocate and free, and the long ways of those in client/api/alloc_quick.c. */
#include <errno.h>
#include <inttypes.h>

#include "client/api/alloc.h"
#include "client/control/release.h"
#include "client/data/fastpath.h"
#include "client/space/checking.h"
#include "client/space/kept.h"
#include "client/space/memory.h"
#include "client/space/objects.h"
#include "client/space/remote_copy.h"
#include "client/space/resize.h"
#include "client/space/sharing.h"

#define ALLOC_ATTR_V1_SIZE (offsetof(struct rmem_alloc_attr, flags) + sizeof(uint32_t))

int alloc_read(struct rmem *rm, const struct rmem_alloc_attr *attr, struct alloc_call *call,
	struct errinfo *errinfo)
{
	struct rmem_alloc_attr *a = &call->attr;
	int rc = attr ? call_copy_attr(a, sizeof(*a), attr, ALLOC_ATTR_V1_SIZE, errinfo) : 0;

	if (rc == 0)
		rc = call_check_flags(a->flags, RMEM_ALLOC_ZERO | RMEM_ALLOC_ISOLATED, errinfo);
	if (rc)
		return rc;
	if (call->bytes == 0)
		return errinfo_set(
			errinfo, -EINVAL, "an allocation of 0 bytes: ask for at least 1");
	if (a->align_bytes > OBJECT_ALIGN_MAX || (a->align_bytes & (a->align_bytes - 1)))
		return errinfo_set(errinfo, -EINVAL,
			"an alignment to %" PRIu64 " bytes: it can be a power of 2 up to %u",
			a->align_bytes, OBJECT_ALIGN_MAX);
	rc = placement_read(rm, a, &call->placement, errinfo);
	if (rc == 0 && !(a->flags & RMEM_ALLOC_ISOLATED) && placement_is_any(&call->placement))
		call->size_class = checking_size_class(rm, call->bytes, a->align_bytes);
	return rc;
}

/* Where the call comes from, as a record has it: from the thread's memory, or by unwinding the stack. */
static __attribute__((noinline)) int find_site(struct rmem *rm, const struct alloc_call *call,
	uint64_t version, uint64_t deadline_ns, uint64_t *out, struct errinfo *errinfo)
{
	struct site_cache *cache = call->stack ? NULL : thread_channels_sites_now(&rm->channels);
	const struct stack *stack = call->stack;
	struct stack captured;
	uint32_t number;
	int rc;

	if (cache && site_cache_find(cache, call->caller, call->frame, version, out))
		return 0;
	if (!stack) {
		stack_capture(&captured, call->caller);
		stack = &captured;
	}
	rc = memory_site(rm, stack, deadline_ns, &number, errinfo);
	if (rc)
		return rc;
	if (cache)
		site_cache_note(cache, call->caller, call->frame, version, stack, number);
	*out = object_record_site(number);
	return 0;
}

/* The site of the call and a slot, of one session: between the two, the server may have reclaimed the one before. */
static int take_object(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	struct object_wish *wish, slab_item *out, struct errinfo *errinfo)
{
	uint64_t version;
	int rc = 0;

	for (;;) {
		version = session_numbering(&rm->session);
		if (!rm->channels.no_sites)
			rc = find_site(rm, call, version, deadline_ns, &wish->site, errinfo);
		if (rc == 0)
			rc = objects_take(rm, wish->size_class, deadline_ns, out, errinfo);
		if (rc || session_numbering(&rm->session) == version)
			return rc;
		objects_put_back(rm, *out);
	}
}

static bool hand_out(
	struct rmem *rm, slab_item item, const struct object_wish *wish, struct object *out)
{
	const bool checked = checking_is_full(rm);
	const bool clean = !checked || checking_reuse(rm, item, wish->caller);

	if (!objects_hand_out(rm, item, wish, out))
		return false;
	if (checked)
		checking_guard(rm, out->slab, slab_item_slot(item));
	out->zero &= clean;
	return true;
}

static int alloc_object_once(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	struct object_wish wish = { .size_class = call->size_class,
		.bytes = (uint32_t)call->bytes,
		.caller = call->caller };
	struct errinfo ignored;
	struct object object;
	slab_item item;
	int rc;

	(void)thread_channels_cache(&rm->channels);
	rc = take_object(rm, call, deadline_ns, &wish, &item, errinfo);
	if (rc)
		return rc;
	if (!hand_out(rm, item, &wish, &object))
		return -ESTALE; /* the session was lost meanwhile */
	if ((call->attr.flags & RMEM_ALLOC_ZERO) && !object.zero)
		rc = objects_zero(rm, object.addr, wish.bytes, deadline_ns, errinfo);
	if (rc)
		(void)objects_free(rm, object.slab, object.addr, NULL, &ignored);
	else
		*out = object.addr;
	return rc;
}

/* A small one, in a slab. */
static int alloc_object(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	int rc = alloc_object_once(rm, call, deadline_ns, out, errinfo);

	/* What was lost with the old session does not matter to a new allocation. */
	return rc == -ESTALE ? alloc_object_once(rm, call, deadline_ns, out, errinfo) : rc;
}

static int alloc_block(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	struct memory_wish wish = { .bytes = call->bytes, .placement = call->placement };

	if (call->stack)
		wish.stack = *call->stack;
	else
		stack_capture(&wish.stack, call->caller);
	return memory_alloc(rm, &wish, deadline_ns, out, errinfo);
}

int alloc_carry_out(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	struct errinfo ignored;

	if (!call->size_class)
		return alloc_block(rm, call, deadline_ns, out, errinfo);
	/* A sample that there is no block for is none. */
	if (checking_draws(rm) && alloc_block(rm, call, deadline_ns, out, &ignored) == 0)
		return 0;
	return alloc_object(rm, call, deadline_ns, out, errinfo);
}

/* ... where the session knows its number. */
static bool know_site(
	struct rmem *rm, const struct alloc_call *call, uint64_t version, uint64_t *out)
{
	struct site_cache *cache = thread_channels_sites_now(&rm->channels);
	uint32_t number;

	if (cache && site_cache_find(cache, call->caller, call->frame, version, out))
		return true;
	if (!memory_known_site(rm, call->stack, &number))
		return false;
	if (cache)
		site_cache_note(cache, call->caller, call->frame, version, call->stack, number);
	*out = object_record_site(number);
	return true;
}

bool alloc_here(struct rmem *rm, const struct alloc_call *call, rmem_addr_t *out)
{
	struct object_wish wish = { .size_class = call->size_class,
		.bytes = (uint32_t)call->bytes };
	const uint64_t version = session_numbering(&rm->session);
	struct errinfo ignored;
	struct object object;
	slab_item item;

	if (!call->size_class || rm->checking)
		return false;
	(void)thread_channels_cache(&rm->channels);
	if (!rm->channels.no_sites && !know_site(rm, call, version, &wish.site))
		return false;
	if (objects_take_here(rm, wish.size_class, &item))
		return false;
	if (session_numbering(&rm->session) != version) {
		objects_put_back(rm, item);
		return false;
	}
	if (!objects_hand_out(rm, item, &wish, &object))
		return false;
	if ((call->attr.flags & RMEM_ALLOC_ZERO) && !object.zero) {
		(void)objects_free(rm, object.slab, object.addr, NULL, &ignored);
		return false;
	}
	*out = object.addr;
	return true;
}

int alloc_long(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out,
	void *caller, void *frame)
{
	struct alloc_call call = alloc_call_for(bytes, caller, frame);
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = alloc_read(rm, attr, &call, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = alloc_carry_out(rm, &call, call_deadline(rm), out, &errinfo);
	return call_done(rc, "rmem_alloc", &errinfo);
}

/* Its slot is for another object only when nobody else reaches it. */
static int release_object(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = 0;

	if (slab_is_shared(slab, addr) && !slab_is_lost(slab)) {
		if (slab_is_kept(slab, slab_slot_at(slab, addr - slab->addr)))
			return kept_free(rm, slab, addr, caller, deadline_ns, errinfo);
		rc = sharing_unshare(rm, addr, deadline_ns, errinfo);
	}
	if (rc == 0 || rc == -ESTALE)
		rc = objects_free(rm, slab, addr, caller, errinfo);
	return rc == -EINVAL ? kept_explain(rm, slab, addr, rc, deadline_ns, errinfo) : rc;
}

static int release_other(struct rmem *rm, rmem_addr_t addr, void *caller, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	uint32_t site = 0;

	if (release_is_told(&rm->session, addr))
		site = memory_site_here(rm, caller, deadline_ns);
	return release_block(&rm->session, addr, NULL, site, deadline_ns, errinfo);
}

int alloc_release(struct rmem *rm, rmem_addr_t addr, void *caller, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct slab *const slab = blocks_slab(&rm->session.blocks, addr);
	int rc = 0;

	if (slab)
		rc = release_object(rm, slab, addr, caller, deadline_ns, errinfo);
	else
		rc = release_other(rm, addr, caller, deadline_ns, errinfo);
	if ((rc == -EINVAL || rc == -EALREADY) && rm->checking)
		checking_bad_free(rm, addr, caller, rc == -EALREADY, errinfo);
	return rc == -EALREADY ? -EINVAL : rc;
}

bool alloc_tells_site(struct rmem *rm, rmem_addr_t addr)
{
	return rm->checking ||
	       (!rm->channels.no_sites && (blocks_slab(&rm->session.blocks, addr) ||
						  release_is_told(&rm->session, addr)));
}

bool alloc_releases_here(const struct rmem *rm, rmem_addr_t addr)
{
	const struct slab *slab = blocks_slab(&rm->session.blocks, addr);

	return slab && !rm->checking && !kept_is_explained(slab, addr) &&
	       (!slab_is_shared(slab, addr) || slab_is_lost(slab));
}

int free_long(struct rmem *rm, rmem_addr_t addr, void *caller)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && addr)
		rc = alloc_release(rm, addr, caller, call_deadline(rm), &errinfo);
	return call_done(rc, "rmem_free", &errinfo);
}

/* ---- many at once ---- */

/* With these it is not the program's any more, however that came. */
static bool is_given_up(int rc)
{
	return rc == 0 || rc == -ESTALE || rc == -EIO;
}

/* All that can be freed is, and becomes 0. The first error. */
static int release_each(struct rmem *rm, rmem_addr_t *addrs, size_t count, void *caller,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	int first = 0;

	for (size_t i = 0; i < count; i++) {
		struct errinfo why = { "" };
		int rc = addrs[i] ? alloc_release(rm, addrs[i], caller, deadline_ns, &why) : 0;

		if (is_given_up(rc))
			addrs[i] = 0;
		if (rc && !first) {
			first = rc;
			*errinfo = why;
		}
	}
	return first;
}

static int alloc_each(struct rmem *rm, const struct alloc_call *call, rmem_addr_t *out,
	size_t count, struct errinfo *errinfo)
{
	const uint64_t deadline_ns = call_deadline(rm);
	struct errinfo ignored;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		out[i] = 0;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = alloc_carry_out(rm, call, deadline_ns, &out[i], errinfo);
	/* The server may have been what failed, and its time is over: it gets as much again to take back. */
	if (rc)
		(void)release_each(rm, out, count, call->caller, call_deadline(rm), &ignored);
	return rc;
}

RMEM_API __attribute__((noinline)) int rmem_alloc_many(struct rmem *rm, size_t bytes, size_t count,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	struct alloc_call call =
		alloc_call_for(bytes, __builtin_return_address(0), __builtin_dwarf_cfa());
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = alloc_read(rm, attr, &call, &errinfo);
	if (rc == 0 && !out && count)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = alloc_each(rm, &call, out, count, &errinfo);
	return call_done(rc, "rmem_alloc_many", &errinfo);
}

RMEM_API int rmem_free_many(struct rmem *rm, rmem_addr_t *addrs, size_t count)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !addrs && count)
		rc = errinfo_set(&errinfo, -EINVAL, "addrs is NULL");
	if (rc == 0)
		rc = release_each(
			rm, addrs, count, __builtin_return_address(0), call_deadline(rm), &errinfo);
	return call_done(rc, "rmem_free_many", &errinfo);
}

/* ---- another length ---- */

static bool fits_in_place(
	const struct rmem *rm, const struct alloc_call *call, const struct resizable *old)
{
	/* With RMEM_CHECK=full it moves: its canary stays where it is, and later uses of the old address are reported. */
	if (old->slab)
		return call->size_class == old->slab->size_class && !checking_is_full(rm);
	if (!placement_is_any(&call->placement))
		return false;
	/* Access to an isolated one ends with its bytes. */
	return call->attr.flags & RMEM_ALLOC_ISOLATED ? call->bytes == old->bytes
						      : resize_keeps_block(old, call->bytes);
}

static int resize_in_place(struct rmem *rm, const struct alloc_call *call,
	const struct resizable *old, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const uint32_t before = (uint32_t)old->bytes, now = (uint32_t)call->bytes;
	struct errinfo ignored;
	int rc;

	if (!old->slab)
		return 0;
	rc = resize_object(rm, old->addr, now, errinfo);
	if (rc || now <= before || !(call->attr.flags & RMEM_ALLOC_ZERO))
		return rc;
	rc = objects_zero(rm, old->addr + before, now - before, deadline_ns, errinfo);
	if (rc)
		(void)resize_object(rm, old->addr, before, &ignored);
	return rc;
}

/*
 * What was copied is not needed any more. A FREE that was sent, and not answered in time, is carried through by the
 * session's next request: from then on the old one is not what it was, and the new one is the allocation.
 */
static int leave(struct rmem *rm, const struct resizable *old, void *caller, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	int rc = alloc_release(rm, old->addr, caller, deadline_ns, errinfo);
	struct resizable still;
	struct errinfo ignored;

	if (is_given_up(rc))
		return 0;
	return old->slab || resize_find(rm, old->addr, &still, &ignored) == 0 ? rc : 0;
}

static int move(struct rmem *rm, const struct alloc_call *call, const struct resizable *old,
	uint64_t deadline_ns, rmem_addr_t *out, struct errinfo *errinfo)
{
	const uint64_t kept = old->bytes < call->bytes ? old->bytes : call->bytes;
	struct errinfo ignored;
	rmem_addr_t new;
	int rc = alloc_carry_out(rm, call, deadline_ns, &new, errinfo);

	if (rc)
		return rc;
	rc = remote_copy(rm, new, old->addr, kept, deadline_ns, errinfo);
	if (rc == 0)
		rc = leave(rm, old, call->caller, deadline_ns, errinfo);
	if (rc)
		(void)alloc_release(rm, new, call->caller, call_deadline(rm), &ignored);
	else
		*out = new;
	return rc;
}

static int reallocate(struct rmem *rm, rmem_addr_t addr, const struct alloc_call *call,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	const uint64_t deadline_ns = call_deadline(rm);
	struct resizable old;
	int rc;

	if (!addr)
		return alloc_carry_out(rm, call, deadline_ns, out, errinfo);
	rc = resize_find(rm, addr, &old, errinfo);
	if (rc)
		return rc;
	if (!fits_in_place(rm, call, &old))
		return move(rm, call, &old, deadline_ns, out, errinfo);
	rc = resize_in_place(rm, call, &old, deadline_ns, errinfo);
	if (rc == 0)
		*out = addr;
	return rc;
}

RMEM_API __attribute__((noinline)) int rmem_realloc(struct rmem *rm, rmem_addr_t addr, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	struct alloc_call call =
		alloc_call_for(bytes, __builtin_return_address(0), __builtin_dwarf_cfa());
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = alloc_read(rm, attr, &call, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = reallocate(rm, addr, &call, out, &errinfo);
	return call_done(rc, "rmem_realloc", &errinfo);
}
