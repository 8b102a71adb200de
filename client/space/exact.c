/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/exact.h"

#include "client/data/keys.h"

static bool find(const struct session *s, rmem_addr_t addr, struct slab **out, uint32_t *out_slot)
{
	struct slab *const slab = blocks_slab(&s->blocks, addr);

	if (!slab)
		return false;
	*out = slab;
	*out_slot = slab_slot_at(slab, addr - slab->addr);
	return *out_slot < slab->slots && !slab_is_sent(slab, *out_slot) &&
	       !slab_is_kept(slab, *out_slot);
}

bool exact_needs(const struct session *s, rmem_addr_t addr)
{
	struct slab *slab;
	uint32_t slot;

	return find(s, addr, &slab, &slot);
}

bool exact_plan(struct session *s, rmem_addr_t addr, struct operation *op)
{
	struct slab *slab;
	struct errinfo ignored;
	uint32_t slot;

	if (!find(s, addr, &slab, &slot))
		return false;
	op->kind = OPERATION_WRITE;
	op->is_journal = true;
	op->slab = slab;
	op->slot = slot;
	op->desired = slab_record(slab, slot);
	op->as_of = keys_as_of(s);
	return operation_plan_one(op, &op->desired, slab_record_addr(slab, slot),
		       sizeof(op->desired), &ignored) == 0;
}

struct exact_pieces exact_pieces(const struct session *s, const struct operation *op)
{
	if (!s->exact || op->kind == OPERATION_READ || op->is_journal)
		return (struct exact_pieces){ .n = 0 };
	if (operation_is_copy(op))
		return (struct exact_pieces){ .pieces = op->left.remote, .n = op->left.nremote };
	return (struct exact_pieces){ .word = { op->addr, sizeof(uint64_t) }, .n = 1 };
}
