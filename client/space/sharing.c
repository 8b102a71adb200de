/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/sharing.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/control/request.h"
#include "client/data/explain.h"
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

static int check_share(
	struct session *s, rmem_addr_t addr, struct block *block, struct errinfo *errinfo)
{
	if (!look(s, addr, block) || block->state == BLOCK_FREED || block->state == BLOCK_FREEING)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is not the beginning of an allocation of this session",
			addr);
	if (block->state == BLOCK_STALE)
		return explain_stale(block, errinfo);
	if (block->attached)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64
			" is another session's: only that session says who may use it; "
			"the key that came with it can be passed on",
			addr);
	return 0;
}

/* The session may have come back since the program asked, and the allocation be gone. */
static int name_share(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct share_request *request = arg;
	struct block block = { 0 };
	int rc = check_share(s, request->addr, &block, errinfo);

	request->serial = block.id;
	return rc;
}

/* The server has answered: keys to it may be good from now on, or none is. */
static void note_shared(struct session *s, rmem_addr_t addr, uint64_t id, bool shared)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block && block->id == id)
		block->shared = shared;
	pthread_mutex_unlock(&s->table);
}

int sharing_share(struct session *s, rmem_addr_t addr, bool read_only, uint64_t deadline_ns,
	struct share_reply *out, struct errinfo *errinfo)
{
	struct share_request request = { .addr = addr, .read_only = read_only };
	int rc = name_share(s, &request, errinfo);

	if (rc)
		return rc;
	rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_SHARE,
			.deadline_ns = deadline_ns,
			.encode = share_request_encode,
			.request = &request,
			.decode = share_reply_decode,
			.reply = out,
			.check = name_share,
			.arg = &request },
		errinfo);
	if (rc == 0)
		note_shared(s, addr, request.serial, true);
	return rc;
}

static int name_unshare(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct unshare_request *request = arg;
	struct block block = { 0 };
	int rc = check_share(s, request->addr, &block, errinfo);

	request->serial = block.id;
	return rc;
}

int sharing_unshare(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct unshare_request request = { .addr = addr };
	int rc = name_unshare(s, &request, errinfo);

	if (rc)
		return rc;
	rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_UNSHARE,
			.deadline_ns = deadline_ns,
			.encode = unshare_request_encode,
			.request = &request,
			.check = name_unshare,
			.arg = &request },
		errinfo);
	if (rc == 0)
		note_shared(s, addr, request.serial, false);
	return rc;
}

static int check_attach(struct session *s, rmem_addr_t addr, struct errinfo *errinfo)
{
	struct block block = { 0 };

	if (!addr_is_remote(addr))
		return errinfo_set(errinfo, -EINVAL, "0x%" PRIx64 " is not a remote address", addr);
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
		.read_only = found->read_only,
		.node = found->node,
		.born_ns = clock_boot_ns() - found->age_ns,
	};
	int rc;

	memcpy(new.key, key, sizeof(new.key));
	pthread_mutex_lock(&s->table);
	rc = blocks_add(&s->blocks, &new);
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

int sharing_detach(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct detach_request request = { .addr = addr };
	struct block block = { 0 };
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
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
