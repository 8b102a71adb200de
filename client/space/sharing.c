/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/sharing.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/control/request.h"
#include "client/data/explain.h"
#include "client/slabs/slab.h"
#include "client/space/exact.h"
#include "client/space/kept.h"
#include "common/addr.h"

/* What is at addr in the table: a copy. false: nothing starts there. */
static bool look(struct session *s, rmem_addr_t addr, struct block *out)
{
	const struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block)
		*out = *block;
	pthread_mutex_unlock(&s->table);
	return block != NULL;
}

/* What this session can share: a block, or an object of a slab of its own. */
struct own {
	rmem_addr_t addr;
	uint64_t id;
	struct slab *slab; /* NULL: a block */
	uint32_t slot;
};

static int explain_no_beginning(rmem_addr_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EINVAL,
		"0x%" PRIx64 " is not the beginning of an allocation of this session", addr);
}

/* With the table: what begins at own->addr. */
static int find_own(struct session *s, struct own *own, struct errinfo *errinfo)
{
	const struct block *block = blocks_find_range(&s->blocks, own->addr, 1);

	if (!block || block->state == BLOCK_FREED || block->state == BLOCK_FREEING)
		return explain_no_beginning(own->addr, errinfo);
	if (block->state == BLOCK_STALE)
		return explain_stale(block, errinfo);
	if (block->attached)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64
			" is another session's: only that session says who may use it; "
			"the key that came with it can be passed on",
			own->addr);
	own->id = block->id;
	own->slab = block->slab;
	if (own->slab ? !slab_holds(own->slab, own->addr, 1, &own->slot) ||
				slab_slot_addr(own->slab, own->slot) != own->addr
		      : block->addr != own->addr)
		return explain_no_beginning(own->addr, errinfo);
	return 0;
}

static int look_for_own(struct session *s, struct own *own, struct errinfo *errinfo)
{
	int rc;

	pthread_mutex_lock(&s->table);
	rc = find_own(s, own, errinfo);
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* Keys to it may be good from now on; may_free: a block that others may free. */
static int note_shared(
	struct session *s, const struct own *own, bool may_free, struct errinfo *errinfo)
{
	struct block *block;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, own->addr, 1);
	if (block && block->id == own->id && own->slab) {
		if (!slab_set_shared(own->slab, s->heap, own->slot, true))
			rc = errinfo_set(errinfo, -ENOMEM, "out of memory");
	} else if (block && block->id == own->id) {
		block->shared = true;
		block->may_free |= may_free;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* No key to it is good, unless it was shared meanwhile. */
static void note_unshared(struct session *s, const struct own *own, const struct sharing_call *call)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, own->addr, 1);
	if (call->overlapped || !block || block->id != own->id) {
		pthread_mutex_unlock(&s->table);
		return;
	}
	if (own->slab)
		(void)slab_set_shared(own->slab, s->heap, own->slot, false);
	else
		block->shared = block->may_free = false;
	pthread_mutex_unlock(&s->table);
}

/* The session may have come back since the program asked, and the allocation be gone. */
static int name_share(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct share_request *request = arg;
	struct own own = { .addr = request->addr };
	int rc = look_for_own(s, &own, errinfo);

	request->serial = own.id;
	return rc;
}

/* Noted first: from the moment on in which the server gives a key out, freeing it takes that back. */
static int share(struct rmem *rm, rmem_addr_t addr, enum share_rights rights, uint64_t deadline_ns,
	struct share_reply *out, struct errinfo *errinfo)
{
	struct share_request request = { .addr = addr, .rights = rights };
	struct session *s = &rm->session;
	struct own own = { .addr = addr };
	int rc = look_for_own(s, &own, errinfo);

	if (rc == 0)
		rc = note_shared(s, &own, rights == SHARE_TO_FREE, errinfo);
	/* The server shares an object as its record has it. */
	if (rc == 0 && own.slab)
		rc = slab_thread_sync(&rm->slab_thread, deadline_ns, errinfo);
	if (rc == 0 && own.slab && rights == SHARE_TO_FREE)
		rc = kept_begin(rm, own.slab, own.slot, deadline_ns, errinfo);
	if (rc)
		return rc;
	return control_call(s,
		&(struct control_call){ .type = MESSAGE_SHARE,
			.deadline_ns = deadline_ns,
			.encode = share_request_encode,
			.request = &request,
			.decode = share_reply_decode,
			.reply = out,
			.check = name_share,
			.arg = &request },
		errinfo);
}

int sharing_share(struct rmem *rm, rmem_addr_t addr, enum share_rights rights, uint64_t deadline_ns,
	struct share_reply *out, struct errinfo *errinfo)
{
	struct sharing_call call = { .addr = addr };
	int rc;

	session_sharing_begin(&rm->session, &call);
	rc = share(rm, addr, rights, deadline_ns, out, errinfo);
	session_sharing_end(&rm->session, &call);
	return rc;
}

static int name_unshare(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct unshare_request *request = arg;
	struct own own = { .addr = request->addr };
	int rc = look_for_own(s, &own, errinfo);

	request->serial = own.id;
	return rc;
}

/* No key fits the record that an object has from now on. */
static int renew_record(
	struct rmem *rm, const struct own *own, uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint32_t slot;
	int rc;

	if (!slab_renew_object(own->slab, own->addr, &slot))
		return explain_no_beginning(own->addr, errinfo);
	rc = exact_await_operations(&rm->session, deadline_ns, errinfo);
	depot_touch(&rm->session.depot, own->slab, slot);
	return rc ? rc : slab_thread_sync(&rm->slab_thread, deadline_ns, errinfo);
}

static int revoke(struct rmem *rm, rmem_addr_t addr, const struct sharing_call *call,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct unshare_request request = { .addr = addr };
	struct session *s = &rm->session;
	struct own own = { .addr = addr };
	int rc = look_for_own(s, &own, errinfo);

	if (rc == 0 && own.slab && !slab_is_kept(own.slab, own.slot))
		rc = renew_record(rm, &own, deadline_ns, errinfo);
	/* Also if it became that meanwhile: then its new record has not been written. */
	if (rc == 0 && own.slab && slab_is_kept(own.slab, own.slot))
		return kept_revoke(rm, own.slab, addr, call, deadline_ns, errinfo);
	if (rc == 0)
		rc = control_call(s,
			&(struct control_call){ .type = MESSAGE_UNSHARE,
				.deadline_ns = deadline_ns,
				.encode = unshare_request_encode,
				.request = &request,
				.check = name_unshare,
				.arg = &request },
			errinfo);
	if (rc == 0)
		note_unshared(s, &own, call);
	return rc;
}

int sharing_unshare(
	struct rmem *rm, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct sharing_call call = { .addr = addr, .revokes = true };
	int rc;

	session_sharing_begin(&rm->session, &call);
	rc = revoke(rm, addr, &call, deadline_ns, errinfo);
	session_sharing_end(&rm->session, &call);
	return rc;
}

/* Does addr lie in a block or a slab that this session has allocated, and holds? */
static bool is_own(struct session *s, rmem_addr_t addr)
{
	const struct block *block;
	bool own;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, 1);
	own = block && !block->attached && block->state == BLOCK_LIVE;
	pthread_mutex_unlock(&s->table);
	return own;
}

static int check_attach(struct session *s, rmem_addr_t addr, struct errinfo *errinfo)
{
	struct block block = { 0 };

	if (!addr_is_remote(addr))
		return errinfo_set(errinfo, -EINVAL, "0x%" PRIx64 " is not a remote address", addr);
	if (is_own(s, addr))
		return errinfo_set(
			errinfo, -EINVAL, "0x%" PRIx64 " is this session's own allocation", addr);
	if (!look(s, addr, &block))
		return 0;
	if (block.state == BLOCK_STALE || block.state == BLOCK_FREED)
		return explain_in_the_way(&block, errinfo);
	if (block.attached)
		return errinfo_set(errinfo, -EEXIST, "0x%" PRIx64 " is attached already", addr);
	return errinfo_set(
		errinfo, -EINVAL, "0x%" PRIx64 " is this session's own allocation", addr);
}

/* What this session has there is gone, and keeps its addresses until the program has given it up. */
static int add_attached(struct session *s, rmem_addr_t addr, const struct lookup_reply *found,
	const uint8_t key[SHARE_KEY_SIZE], struct errinfo *errinfo)
{
	struct block new = {
		.addr = addr,
		.bytes = found->bytes,
		.id = found->serial,
		.attached = true,
		.read_only = found->rights == SHARE_TO_READ,
		.may_free = found->rights == SHARE_TO_FREE,
		.node = found->node,
		.born_ns = clock_boot_ns() - found->age_ns,
	};
	const struct foreign_slab slab = { found->slab_addr, found->slab_bytes, found->size_class };
	int rc;

	memcpy(new.key, key, sizeof(new.key));
	pthread_mutex_lock(&s->table);
	rc = found->size_class ? blocks_add_object(&s->blocks, &new, &slab)
			       : blocks_add(&s->blocks, &new);
	if (rc == -EEXIST) {
		session_displace(s, addr, found->bytes);
		rc = explain_in_the_way(blocks_overlap(&s->blocks, addr, found->bytes), errinfo);
	}
	pthread_mutex_unlock(&s->table);
	return rc == -EINVAL
		       ? errinfo_set(errinfo, -EPROTO, "rmemd sent a malformed answer about a key")
		       : rc;
}

int sharing_attach(struct session *s, rmem_addr_t addr, const uint8_t key[SHARE_KEY_SIZE],
	uint64_t pool, uint64_t deadline_ns, uint64_t *out_bytes, struct errinfo *errinfo)
{
	struct lookup_request request = { .addr = addr };
	struct lookup_reply found;
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	memcpy(request.key, key, sizeof(request.key));
	rc = check_attach(s, addr, errinfo);
	if (rc == 0)
		rc = request_ready(s, deadline_ns, errinfo);
	if (rc == 0 && pool != atomic_load(&s->pool))
		rc = errinfo_set(errinfo, -EXDEV,
			"the key is for memory of another pool, %016" PRIx64
			", and this session's server lends that of %016" PRIx64,
			pool, atomic_load(&s->pool));
	if (rc == 0)
		rc = control_call_locked(s,
			&(struct control_call){ .type = MESSAGE_LOOKUP,
				.deadline_ns = deadline_ns,
				.encode = lookup_request_encode,
				.request = &request,
				.decode = lookup_reply_decode,
				.reply = &found },
			errinfo);
	if (rc == 0)
		rc = add_attached(s, addr, &found, key, errinfo);
	session_unlock(s);
	if (rc == 0)
		*out_bytes = found.bytes;
	return rc;
}

static int check_detach(
	struct session *s, rmem_addr_t addr, struct block *block, struct errinfo *errinfo)
{
	if (!look(s, addr, block))
		return errinfo_set(errinfo, -EINVAL, "nothing is attached at 0x%" PRIx64, addr);
	if (!block->attached)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is this session's own allocation: rmem_free() gives it back",
			addr);
	return 0;
}

static void set_state(struct session *s, rmem_addr_t addr, bool gone)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block && gone)
		blocks_remove(&s->blocks, block);
	else if (block)
		blocks_set_state(&s->blocks, block, BLOCK_FREEING);
	pthread_mutex_unlock(&s->table);
}

/* With control. serial: detach only the block that has it; 0: any. */
static bool is_other(struct session *s, rmem_addr_t addr, uint64_t serial)
{
	struct block block = { 0 };

	return serial && (!look(s, addr, &block) || block.serial != serial);
}

static int detach(struct session *s, rmem_addr_t addr, uint64_t serial, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct detach_request request = { .addr = addr };
	struct block block = { 0 };
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	if (is_other(s, addr, serial)) {
		session_unlock(s);
		return 0;
	}
	rc = check_detach(s, addr, &block, errinfo);
	request.serial = block.id;
	if (rc == 0)
		rc = request_ready(s, deadline_ns, errinfo);
	if (rc == 0) {
		/* From here on it is not used, whatever becomes of the request: that can be made again. */
		set_state(s, addr, false);
		rc = control_call_locked(s,
			&(struct control_call){ .type = MESSAGE_DETACH,
				.deadline_ns = deadline_ns,
				.encode = detach_request_encode,
				.request = &request },
			errinfo);
		/* A session that the server had forgotten had nothing attached any more. */
		if (rc == 0 || rc == -ESTALE)
			set_state(s, addr, true);
		rc = rc == -ESTALE ? 0 : rc;
	}
	session_unlock(s);
	return rc;
}

int sharing_detach(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	return detach(s, addr, 0, deadline_ns, errinfo);
}

int sharing_detach_block(struct session *s, rmem_addr_t addr, uint64_t serial, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	return detach(s, addr, serial, deadline_ns, errinfo);
}
