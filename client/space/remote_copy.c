/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/remote_copy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/control/request.h"
#include "client/data/explain.h"
#include "client/slabs/slab.h"
#include "client/space/exact.h"

/* How the server calls a range that may be used for that. */
static int name_place(struct session *s, rmem_addr_t addr, uint64_t bytes, bool write,
	struct place *out, struct errinfo *errinfo)
{
	const struct block *block;
	uint32_t slot;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, bytes);
	if (!block) {
		rc = explain_range(&s->blocks, addr, bytes, errinfo);
	} else if (block->state != BLOCK_LIVE) {
		rc = explain_state(block, errinfo);
	} else if (write && block->read_only) {
		rc = explain_read_only(addr, errinfo);
	} else if (block->slab && !slab_holds(block->slab, addr, bytes, &slot)) {
		rc = explain_object(block->slab, addr, bytes, errinfo);
	} else {
		*out = (struct place){
			.addr = block->addr, .serial = block->id, .offset = addr - block->addr
		};
		memcpy(out->key, block->key, sizeof(out->key));
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* What is asked for, by address: each time that it is sent it means what is there then, or it is not sent. */
struct wish {
	rmem_addr_t dst, src;
	struct copy_request copy;
	struct fill_request fill;
};

static int name_copy(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct wish *w = arg;
	int rc = name_place(s, w->dst, w->copy.bytes, true, &w->copy.dst, errinfo);

	return rc ? rc : name_place(s, w->src, w->copy.bytes, false, &w->copy.src, errinfo);
}

static int name_fill(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct wish *w = arg;

	return name_place(s, w->dst, w->fill.bytes, true, &w->fill.dst, errinfo);
}

/*
 * Have the server write to dst. To an object it does as a queue pair would: if the journal is exact its record is there
 * before, and its slot is not handed out again as long as this is on its way.
 */
static int have_written(
	struct rmem *rm, rmem_addr_t dst, const struct control_call *call, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	struct grace_member member = { .begun = 1 };
	int rc = 0;

	if (s->exact && exact_needs(s, dst))
		rc = slab_thread_sync(&rm->slab_thread, call->deadline_ns, errinfo);
	if (rc)
		return rc;
	grace_join(&s->grace, &member);
	rc = control_call(s, call, errinfo);
	grace_leave(&s->grace, &member,
		true); /* what was given up is seen to (client/control/request.c) */
	return rc;
}

int remote_copy(struct rmem *rm, rmem_addr_t dst, rmem_addr_t src, size_t bytes,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct wish w = { .dst = dst, .src = src, .copy = { .bytes = bytes } };
	int rc = name_copy(&rm->session, &w, errinfo);

	if (rc)
		return rc;
	/* Sent again after a broken connection, it would copy what it has made of its source. */
	if (dst - src < bytes || src - dst < bytes)
		return errinfo_set(errinfo, -EINVAL,
			"%zu bytes at 0x%" PRIx64 " and at 0x%" PRIx64 " overlap", bytes, dst, src);
	return have_written(rm, dst,
		&(struct control_call){ .type = MESSAGE_COPY,
			.deadline_ns = deadline_ns,
			.encode = copy_request_encode,
			.request = &w.copy,
			.check = name_copy,
			.arg = &w },
		errinfo);
}

int remote_fill(struct rmem *rm, rmem_addr_t dst, uint8_t byte, size_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct wish w = { .dst = dst, .fill = { .bytes = bytes, .byte = byte } };
	int rc = name_fill(&rm->session, &w, errinfo);

	if (rc)
		return rc;
	return have_written(rm, dst,
		&(struct control_call){ .type = MESSAGE_FILL,
			.deadline_ns = deadline_ns,
			.encode = fill_request_encode,
			.request = &w.fill,
			.check = name_fill,
			.arg = &w },
		errinfo);
}
