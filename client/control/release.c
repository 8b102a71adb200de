/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/release.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

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

/* FREE; or RELEASE, of what others may free too, and of what others let this session free. */
struct leaving {
	struct release_request request;
	bool is_release, attached;
};

bool release_is_told(struct session *s, uint64_t addr)
{
	const struct block *block;
	bool told;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	told = block && block->may_free;
	pthread_mutex_unlock(&s->table);
	return told;
}

static void name_leaving(const struct block *block, struct leaving *out)
{
	out->request.serial = block->id;
	out->is_release = block->may_free;
	out->attached = block->attached;
	if (block->attached)
		memcpy(out->request.key, block->key, sizeof(out->request.key));
}

static int explain_inside(const struct block *whole, rmem_addr_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EINVAL,
		"0x%" PRIx64 " is inside the allocation at 0x%" PRIx64 ", not its beginning", addr,
		whole->addr);
}

static int explain_gone(rmem_addr_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -ESTALE,
		"the allocation at 0x%" PRIx64
		" was gone already: the lease had ended and the server has reclaimed it",
		addr);
}

/* With the table: may it be freed? *out names it then. 1: nothing is left to do. */
static int check_block(
	struct session *s, struct block *block, struct leaving *out, struct errinfo *errinfo)
{
	const rmem_addr_t addr = block->addr;

	if (block->attached && !block->may_free)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " belongs to another session that shares it: rmem_detach() "
			"ends that, rmem_free() is for its owner",
			addr);
	name_leaving(block, out);
	if (block->state == BLOCK_FREED) {
		blocks_remove(&s->blocks, block);
		return 1;
	}
	/* Others may have freed it: the server is asked. */
	if (block->state == BLOCK_STALE && !block->may_free) {
		blocks_remove(&s->blocks, block);
		return explain_gone(addr, errinfo);
	}
	return 0;
}

/* Is there something that can be freed? *out names it. 1: nothing is left to do. */
static int check_free(
	struct session *s, const struct slab *slab, struct leaving *out, struct errinfo *errinfo)
{
	const rmem_addr_t addr = out->request.addr;
	struct block *block;
	int rc;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	if (block && block->slab != slab)
		block = NULL;
	if (block)
		rc = check_block(s, block, out, errinfo);
	else if ((block = blocks_find_range(&s->blocks, addr, 1)) != NULL)
		rc = explain_inside(block, addr, errinfo);
	else
		rc = errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " was freed already or was never allocated", addr);
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* From here on it is not used, whatever becomes of the request; over: it is not kept for a repetition either. */
static void mark_freed(struct session *s, const struct release_request *request, bool over)
{
	struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, request->addr);
	if (block && block->id == request->serial && over)
		blocks_remove(&s->blocks, block);
	else if (block && block->id == request->serial && block->state == BLOCK_LIVE)
		blocks_set_state(&s->blocks, block, BLOCK_FREEING);
	pthread_mutex_unlock(&s->table);
}

static int call(
	struct session *s, const struct leaving *l, uint64_t deadline_ns, struct errinfo *errinfo)
{
	if (!l->is_release)
		return release_call(s, &(struct free_request){ l->request.addr, l->request.serial },
			deadline_ns, errinfo);
	return control_call_locked(s,
		&(struct control_call){ .type = MESSAGE_RELEASE,
			.deadline_ns = deadline_ns,
			.encode = release_request_encode,
			.request = &l->request },
		errinfo);
}

/* What the server has said. It is over: the program has nothing there any more. */
static bool is_over(int rc)
{
	return rc == 0 || rc == -ESTALE || rc == -EIO || rc == -EALREADY;
}

static int judge(const struct leaving *l, int rc, struct errinfo *errinfo)
{
	const struct errinfo cause = *errinfo;

	if (rc == -EALREADY)
		return errinfo_set(errinfo, rc, "0x%" PRIx64 " was freed already: %s",
			l->request.addr, cause.text);
	/* We know that it was ours: a server that does not has reclaimed it. */
	if ((rc == -EINVAL || rc == -ENOENT) && !l->attached)
		return l->is_release ? explain_gone(l->request.addr, errinfo) : -ESTALE;
	return rc;
}

static int free_locked(struct session *s, struct leaving *l, const struct slab *slab,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = check_free(s, slab, l, errinfo);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, errinfo);
	/* Coming back may have shown that it is gone, or that an earlier try had worked. */
	if (rc == 0)
		rc = check_free(s, slab, l, errinfo);
	if (rc)
		return rc;
	mark_freed(s, &l->request, false);
	rc = call(s, l, deadline_ns, errinfo);
	if (rc == -EINVAL || rc == -ENOENT)
		rc = judge(l, rc, errinfo);
	if (is_over(rc))
		mark_freed(s, &l->request, true);
	return judge(l, rc, errinfo);
}

/* A program that drops the address now has leaked the memory: nobody repeats the call for it. */
static int ask_to_repeat(rmem_addr_t addr, int rc, struct errinfo *errinfo)
{
	const struct errinfo cause = *errinfo;

	return errinfo_set(errinfo, rc,
		"0x%" PRIx64 " may still be allocated: call rmem_free() for it again: %s", addr,
		cause.text[0] ? cause.text : errinfo_errno(-rc));
}

int release_block(struct session *s, rmem_addr_t addr, const struct slab *slab, uint32_t site,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct leaving l = { .request = { .addr = addr, .site = site } };
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc == 0) {
		rc = free_locked(s, &l, slab, deadline_ns, errinfo);
		session_unlock(s);
	}
	if (rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -ENOMEM)
		return ask_to_repeat(addr, rc, errinfo);
	return rc > 0 ? 0 : rc;
}
