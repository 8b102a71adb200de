/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/op.h"

#include <errno.h>
#include <stddef.h>

#include "client/space/call.h"
#include "common/clock.h"

#define OP_V1_SIZE (offsetof(struct rmem_op, reserved) + sizeof(uint32_t))

_Static_assert(OPERATION_READ == 0 && OPERATION_WRITE == RMEM_OP_WRITE - RMEM_OP_READ &&
		       OPERATION_FETCH_ADD == RMEM_OP_FETCH_ADD - RMEM_OP_READ &&
		       OPERATION_COMPARE_SWAP == RMEM_OP_COMPARE_SWAP - RMEM_OP_READ,
	"op_kind() relies on the order");

int op_read(
	const struct rmem_op *from, uint32_t flags, struct rmem_op *out, struct errinfo *errinfo)
{
	int rc;

	if (!from)
		return errinfo_set(errinfo, -EINVAL, "the operation is NULL");
	rc = call_copy_attr(out, sizeof(*out), from, OP_V1_SIZE, errinfo);
	if (rc == 0)
		rc = call_check_flags(
			out->flags, RMEM_OP_SILENT | RMEM_OP_FENCED | RMEM_OP_ONCE, errinfo);
	if (rc)
		return rc;
	if (out->flags & ~flags)
		return errinfo_set(errinfo, -EINVAL,
			"the flags RMEM_OP_SILENT and RMEM_OP_FENCED are for queues");
	if (out->kind < RMEM_OP_READ || out->kind > RMEM_OP_COMPARE_SWAP)
		return errinfo_set(errinfo, -EINVAL, "%u is no kind of operation", out->kind);
	if (out->timeout_ms < 0)
		return errinfo_set(errinfo, -EINVAL, "timeout_ms is negative: 0 is no limit");
	if (out->reserved)
		return errinfo_set(errinfo, -EINVAL, "reserved is not 0: begin with RMEM_OP_INIT");
	return 0;
}

void op_set_timeout(struct operation *op, int timeout_ms)
{
	op->timed = timeout_ms;
	if (op->timed)
		op->deadline_ns = clock_boot_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
}

int op_plan(const struct rmem_op *from, struct operation *op, struct errinfo *errinfo)
{
	op->kind = op_kind(from);
	op->once = from->flags & RMEM_OP_ONCE;
	op->silent = from->flags & RMEM_OP_SILENT;
	op_set_timeout(op, from->timeout_ms);
	if (!operation_is_copy(op)) {
		op->addr = from->addr;
		op->add_or_expected = from->operand;
		op->desired = from->desired;
		op->old = from->old;
		return operation_check_word(op, errinfo);
	}
	if (from->nlocal == 1 && from->nremote == 1 && from->local && from->remote &&
		from->local->iov_len == from->remote->len)
		return operation_plan_one(
			op, from->local->iov_base, from->remote->base, from->remote->len, errinfo);
	return operation_plan(op, from->local, from->nlocal, from->remote, from->nremote, errinfo);
}
