/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that tell what an allocation is, and what there can be. Neither asks the server. */
#include <errno.h>

#include "client/api/queue.h"
#include "client/data/explain.h"
#include "client/data/plan.h"
#include "client/slabs/slab.h"
#include "client/space/call.h"
#include "common/size_class.h"

#define STAT_V1_SIZE (offsetof(struct rmem_stat, flags) + sizeof(uint32_t))
#define LIMITS_V1_SIZE (offsetof(struct rmem_limits, flags) + sizeof(uint32_t))

/* With the table. */
static struct rmem_stat describe(const struct block *block)
{
	return (struct rmem_stat){ .base = block->addr,
		.bytes = block->bytes,
		.usable_bytes = block->bytes,
		.age_ns = clock_boot_ns() - block->born_ns,
		.serial = block->id,
		.node = block->node,
		.flags = (block->attached ? RMEM_STAT_ATTACHED : 0) |
			 (block->read_only ? RMEM_STAT_READ_ONLY : 0) |
			 (block->shared ? RMEM_STAT_SHARED : 0) };
}

/* With the table: the object of a slab. */
static int describe_object(struct session *s, const struct block *block, rmem_addr_t addr,
	struct rmem_stat *out, struct errinfo *errinfo)
{
	const struct slab *slab = block->slab;
	struct object_record record;
	uint32_t slot, age_s;

	if (!slab_holds(slab, addr, 1, &slot))
		return explain_object(slab, addr, 1, errinfo);
	record = object_record_unpack(slab_record(slab, slot));
	age_s = session_age_s(s);
	*out = describe(block);
	out->base = slab_slot_addr(slab, slot);
	out->bytes = out->usable_bytes = slab->slot_bytes - record.slack;
	out->flags = slab_is_shared(slab, addr) ? RMEM_STAT_SHARED : 0;
	out->age_ns = age_s > record.birth_s ? (age_s - record.birth_s) * NSEC_PER_SEC : 0;
	return 0;
}

static int find(struct session *s, rmem_addr_t addr, struct rmem_stat *out, struct errinfo *errinfo)
{
	const struct block *block;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, 1);
	if (!block)
		rc = explain_range(&s->blocks, addr, 1, errinfo);
	else if (block->state != BLOCK_LIVE)
		rc = explain_state(block, errinfo);
	else if (block->slab)
		rc = describe_object(s, block, addr, out, errinfo);
	else
		*out = describe(block);
	pthread_mutex_unlock(&s->table);
	return rc;
}

RMEM_API int rmem_stat(struct rmem *rm, rmem_addr_t addr, struct rmem_stat *out)
{
	struct rmem_stat stat;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = call_check_size(out, STAT_V1_SIZE, &errinfo);
	if (rc == 0)
		rc = find(&rm->session, addr, &stat, &errinfo);
	if (rc == 0)
		rc = call_copy_out(out, &stat, sizeof(stat), STAT_V1_SIZE, &errinfo);
	return call_done(rc, "rmem_stat", &errinfo);
}

RMEM_API int rmem_limits(struct rmem *rm, struct rmem_limits *out)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0) {
		const struct session *s = &rm->session;
		const struct rmem_limits limits = { .alloc_bytes = atomic_load(&s->max_alloc_bytes),
			.object_bytes = OBJECT_BYTES_MAX,
			.request_bytes = PLAN_SEGMENT_MAX,
			.pieces = PLAN_PIECES_MAX,
			.queue_depth = QUEUE_DEPTH_MAX,
			.channels = rm->channels.limit,
			.all_channels = CHANNELS_PER_SESSION_MAX,
			.windows = atomic_load(&s->windows),
			.flags = atomic_load(&s->atomics) ? RMEM_LIMITS_ATOMICS : 0 };

		rc = call_copy_out(out, &limits, sizeof(limits), LIMITS_V1_SIZE, &errinfo);
	}
	return call_done(rc, "rmem_limits", &errinfo);
}
