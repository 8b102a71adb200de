/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/resize.h"

#include <errno.h>
#include <inttypes.h>

#include "client/data/explain.h"
#include "client/slabs/slab.h"

static int explain_shared(rmem_addr_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EBUSY,
		"the allocation at 0x%" PRIx64 " is shared: others would not learn of its new "
		"place and length; rmem_unshare() it first",
		addr);
}

/* With the table. */
static int find(struct session *s, rmem_addr_t addr, struct resizable *out, struct errinfo *errinfo)
{
	const struct block *block = blocks_find_range(&s->blocks, addr, 1);
	struct slab *const slab = block ? block->slab : NULL;
	uint32_t slot = 0;
	bool begins;

	if (block && block->state == BLOCK_STALE)
		return explain_stale(block, errinfo);
	begins = block && block->state == BLOCK_LIVE && !block->attached;
	if (begins && slab)
		begins = slab_holds(slab, addr, 1, &slot) && slab_slot_addr(slab, slot) == addr;
	else if (begins)
		begins = block->addr == addr;
	if (!begins)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is not the beginning of an allocation of this session",
			addr);
	if (slab ? slab_is_shared(slab, addr) : block->shared)
		return explain_shared(addr, errinfo);
	*out = (struct resizable){ .addr = addr,
		.bytes = slab ? slab_object_bytes(slab, slab_record(slab, slot)) : block->bytes,
		.slab = slab };
	return 0;
}

int resize_find(struct rmem *rm, rmem_addr_t addr, struct resizable *out, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = find(s, addr, out, errinfo);
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* With the table all along: keys are given out for the record that is there when it is noted that it is shared. */
int resize_object(struct rmem *rm, rmem_addr_t addr, uint32_t bytes, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	struct resizable object = { 0 };
	uint32_t slot;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = find(s, addr, &object, errinfo);
	if (rc == 0 && !object.slab)
		rc = errinfo_set(errinfo, -EINVAL, "0x%" PRIx64 " is a block by now", addr);
	if (rc == 0 && !slab_resize_object(object.slab, addr, bytes, &slot))
		rc = errinfo_set(errinfo, -EINVAL, "0x%" PRIx64 " was freed already", addr);
	if (rc == 0)
		depot_touch(&s->depot, object.slab, slot);
	pthread_mutex_unlock(&s->table);
	return rc;
}

static uint64_t pages(uint64_t bytes)
{
	return (bytes + SLAB_PAGE_BYTES - 1) / SLAB_PAGE_BYTES;
}

bool resize_keeps_block(const struct resizable *block, uint64_t bytes)
{
	return bytes <= block->bytes && pages(bytes) == pages(block->bytes);
}
