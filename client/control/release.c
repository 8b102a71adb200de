/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/release.h"

#include <errno.h>
#include <inttypes.h>

#include "client/control/request.h"

int release_call(struct session *s, const struct free_request *request, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	return control_call_locked(s,
		&(struct control_call){ .type = MESSAGE_FREE,
			.deadline_ns = deadline_ns,
			.encode = free_request_encode,
			.request = request },
		errinfo);
}

/* Is addr something that can be freed? *request names it. 1: nothing is left to do. */
static int check_free(struct session *s, rmem_addr_t addr, const struct slab *slab,
	struct free_request *request, struct errinfo *errinfo)
{
	struct block *block;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block && block->slab != slab)
		block = NULL;
	if (block)
		*request = (struct free_request){ .addr = addr, .serial = block->id };
	if (!block && blocks_find_range(&s->blocks, addr, 1)) {
		rc = errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is inside the allocation at 0x%" PRIx64
			", not its beginning",
			addr, blocks_find_range(&s->blocks, addr, 1)->addr);
	} else if (!block) {
		rc = errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " was freed already or was never allocated", addr);
	} else if (block->attached) {
		rc = errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " belongs to another session that shares it: rmem_detach() "
			"ends that, rmem_free() is for its owner",
			addr);
	} else if (block->state == BLOCK_STALE) {
		blocks_remove(&s->blocks, block);
		rc = errinfo_set(errinfo, -ESTALE,
			"the allocation at 0x%" PRIx64
			" was gone already: the lease had ended and the "
			"server has reclaimed it",
			addr);
	} else if (block->state == BLOCK_FREED) {
		blocks_remove(&s->blocks, block);
		rc = 1;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* From here on it is not used, whatever becomes of the request; over: it is not kept for a repetition either. */
static void mark_freed(struct session *s, const struct free_request *request, bool over)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, request->addr);
	if (block && block->id == request->serial && over)
		blocks_remove(&s->blocks, block);
	else if (block && block->id == request->serial)
		blocks_set_state(&s->blocks, block, BLOCK_FREEING);
	pthread_mutex_unlock(&s->table);
}

static int free_locked(struct session *s, rmem_addr_t addr, const struct slab *slab,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct free_request request;
	int rc;

	rc = check_free(s, addr, slab, &request, errinfo);
	if (rc == 0)
		rc = request_ready(s, deadline_ns, errinfo);
	else
		return rc;
	/* Coming back may have shown that it is gone, or that an earlier try had worked. */
	if (rc == 0)
		rc = check_free(s, addr, slab, &request, errinfo);
	if (rc)
		return rc;
	mark_freed(s, &request, false);
	rc = release_call(s, &request, deadline_ns, errinfo);
	/* We know that it was ours: a server that does not has reclaimed it. */
	if (rc == -EINVAL || rc == -ENOENT)
		rc = -ESTALE;
	if (rc == 0 || rc == -ESTALE || rc == -EIO)
		mark_freed(s, &request, true);
	return rc;
}

/* A program that drops the address now has leaked the memory: nobody repeats the call for it. */
static int ask_to_repeat(rmem_addr_t addr, int rc, struct errinfo *errinfo)
{
	const struct errinfo cause = *errinfo;

	return errinfo_set(errinfo, rc,
		"0x%" PRIx64 " may still be allocated: call rmem_free() for it again: %s", addr,
		cause.text[0] ? cause.text : errinfo_errno(-rc));
}

int release_block(struct session *s, rmem_addr_t addr, const struct slab *slab,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc == 0) {
		rc = free_locked(s, addr, slab, deadline_ns, errinfo);
		session_unlock(s);
	}
	if (rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -ENOMEM)
		return ask_to_repeat(addr, rc, errinfo);
	return rc > 0 ? 0 : rc;
}
