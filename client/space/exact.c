/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/exact.h"

#include <errno.h>

#include "client/data/keys.h"
#include "common/clock.h"
#include "common/handshake.h"

#define AWAIT_NS (50 * NSEC_PER_USEC) /* between looks */

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

/* The journal reads records after it has said that they are in flight: it has this one, or this sees that. */
static int await_journal(struct session *s, const struct slab *slab, const struct operation *op,
	struct errinfo *errinfo)
{
	const uint64_t deadline_ns = op->timed ? op->deadline_ns : session_deadline(s);

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&slab->in_flight))
		session_wake_slab_thread(s);
	while (atomic_load(&slab->in_flight)) {
		const uint64_t now = clock_boot_ns();

		if (now >= deadline_ns)
			return errinfo_set(errinfo, -ETIMEDOUT,
				"records of objects that are written before do not get to rmemd");
		if (handshake_wait(-1, -1, s->cancel_fd, now + AWAIT_NS) == -ECANCELED)
			return errinfo_set(errinfo, -ECANCELED, "closing");
	}
	return 0;
}

int exact_plan(struct session *s, rmem_addr_t addr, struct operation *op, struct errinfo *errinfo)
{
	struct slab *slab;
	uint32_t slot;
	int rc;

	if (!find(s, addr, &slab, &slot))
		return EXACT_NEEDLESS;
	rc = await_journal(s, slab, op, errinfo);
	if (rc)
		return rc;
	op->kind = OPERATION_WRITE;
	op->is_journal = true;
	op->slab = slab;
	op->slot = slot;
	op->desired = op->add_or_expected = slab_record(slab, slot);
	op->as_of = keys_as_of(s);
	return operation_plan_one(
		op, &op->desired, slab_record_addr(slab, slot), sizeof(op->desired), errinfo);
}

int exact_await_operations(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint64_t period;

	if (!s->exact)
		return 0;
	/* An operation that is not counted yet reads the record after this (client/data/work.c). */
	atomic_thread_fence(memory_order_seq_cst);
	period = grace_begin(&s->grace);
	while (!grace_has_ended(&s->grace, period)) {
		if (clock_boot_ns() >= deadline_ns)
			return errinfo_set(errinfo, -ETIMEDOUT,
				"operations that are on their way have not completed");
		if (handshake_wait(-1, -1, s->cancel_fd, clock_boot_ns() + NSEC_PER_MSEC) ==
			-ECANCELED)
			return errinfo_set(errinfo, -ECANCELED, "closing");
	}
	return 0;
}

struct exact_pieces exact_pieces(const struct session *s, const struct operation *op)
{
	if (!s->exact || op->kind == OPERATION_READ || op->is_journal)
		return (struct exact_pieces){ .n = 0 };
	if (operation_is_copy(op))
		return (struct exact_pieces){ .pieces = op->left.remote, .n = op->left.nremote };
	return (struct exact_pieces){ .word = { op->addr, sizeof(uint64_t) }, .n = 1 };
}
