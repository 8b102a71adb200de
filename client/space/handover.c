/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/handover.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/control/request.h"
#include "client/data/explain.h"
#include "common/addr.h"

/* ---- offering ---- */

/* With the table: what can be offered at addr. */
static int find_own(
	struct session *s, rmem_addr_t addr, struct block **out, struct errinfo *errinfo)
{
	struct block *block = blocks_find(&s->blocks, addr);

	if (block && block->slab)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64
			" is a small allocation, in a slab that stays this session's: allocate it "
			"with RMEM_ALLOC_ISOLATED",
			addr);
	if (block && block->state == BLOCK_STALE)
		return explain_stale(block, errinfo);
	if (!block || block->attached || (block->state != BLOCK_LIVE && !block->offered))
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is not the beginning of an allocation of this session",
			addr);
	*out = block;
	return 0;
}

/* From here on it is not used here, whatever becomes of the request. */
static int begin_offer(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct offer_request *request = arg;
	struct block *block = NULL;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = find_own(s, request->addr, &block, errinfo);
	if (block) {
		request->serial = block->id;
		block->offered = true;
		blocks_set_state(&s->blocks, block, BLOCK_FREEING);
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

int handover_offer(struct session *s, rmem_addr_t addr, uint64_t deadline_ns,
	struct offer_reply *out, struct errinfo *errinfo)
{
	struct offer_request request = { .addr = addr };

	return control_call(s,
		&(struct control_call){ .type = MESSAGE_OFFER,
			.deadline_ns = deadline_ns,
			.encode = offer_request_encode,
			.request = &request,
			.decode = offer_reply_decode,
			.reply = out,
			.check = begin_offer,
			.arg = &request },
		errinfo);
}

static bool is_offered(struct session *s, rmem_addr_t addr, uint64_t *out_id)
{
	const struct block *block;
	bool offered;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	offered = block && block->offered;
	if (offered)
		*out_id = block->id;
	pthread_mutex_unlock(&s->table);
	return offered;
}

/* It is this session's as before, or another's for good. */
static void end_offer(struct session *s, const struct unshare_request *request, bool kept)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, request->addr);
	if (block && block->id == request->serial && kept)
		blocks_revive(&s->blocks, block);
	else if (block && block->id == request->serial)
		blocks_remove(&s->blocks, block);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
}

int handover_withdraw(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct unshare_request request = { .addr = addr };
	int rc;

	if (!is_offered(s, addr, &request.serial))
		return 1;
	rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_UNSHARE,
			.deadline_ns = deadline_ns,
			.encode = unshare_request_encode,
			.request = &request },
		errinfo);
	if (rc == 0 || rc == -ESTALE)
		end_offer(s, &request, rc == 0);
	return rc == -ESTALE
		       ? errinfo_set(errinfo, rc,
				 "0x%" PRIx64 " was accepted by another session, or is gone", addr)
		       : rc;
}

/* ---- accepting ---- */

static int check_accept(struct session *s, rmem_addr_t addr, struct errinfo *errinfo)
{
	const struct block *block;
	int rc = 0;

	if (!addr_is_remote(addr))
		return errinfo_set(errinfo, -EINVAL, "0x%" PRIx64 " is not a remote address", addr);
	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block)
		rc = errinfo_set(errinfo, -EEXIST,
			"this session has something at 0x%" PRIx64
			" already, or has lost it: free or detach that first",
			addr);
	else
		rc = blocks_reserve(&s->blocks);
	pthread_mutex_unlock(&s->table);
	return rc;
}

static int add_accepted(struct session *s, rmem_addr_t addr, const struct accept_reply *reply,
	struct errinfo *errinfo)
{
	int rc;

	pthread_mutex_lock(&s->table);
	/* What this session had in that memory is gone. */
	session_displace(s, addr, reply->bytes);
	rc = blocks_add(&s->blocks, &(struct block){ .addr = addr,
					    .bytes = reply->bytes,
					    .id = reply->serial,
					    .node = reply->node,
					    .born_ns = clock_boot_ns() - reply->age_ns });
	if (rc == -EEXIST)
		rc = explain_in_the_way(blocks_overlap(&s->blocks, addr, reply->bytes), errinfo);
	pthread_mutex_unlock(&s->table);
	return rc == -EINVAL
		       ? errinfo_set(errinfo, -EPROTO, "rmemd sent a malformed answer about a key")
		       : rc;
}

int handover_accept(struct session *s, rmem_addr_t addr, const uint8_t key[SHARE_KEY_SIZE],
	uint64_t pool, uint64_t deadline_ns, uint64_t *out_bytes, struct errinfo *errinfo)
{
	struct accept_request request = { .addr = addr };
	struct accept_reply reply;
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	memcpy(request.key, key, sizeof(request.key));
	rc = check_accept(s, addr, errinfo);
	if (rc == 0)
		rc = request_ready(s, deadline_ns, errinfo);
	if (rc == 0 && pool != atomic_load(&s->pool))
		rc = errinfo_set(errinfo, -EXDEV,
			"the key is for memory of another pool, %016" PRIx64
			", and this session's server lends that of %016" PRIx64,
			pool, atomic_load(&s->pool));
	if (rc == 0)
		rc = control_call_locked(s,
			&(struct control_call){ .type = MESSAGE_ACCEPT,
				.deadline_ns = deadline_ns,
				.encode = accept_request_encode,
				.request = &request,
				.decode = accept_reply_decode,
				.reply = &reply },
			errinfo);
	if (rc == 0)
		rc = add_accepted(s, addr, &reply, errinfo);
	session_unlock(s);
	if (rc == 0)
		*out_bytes = reply.bytes;
	return rc;
}
