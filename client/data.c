/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that move data and wait for it, and those about local memory. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/call.h"
#include "client/data.h"
#include "client/lookup.h"
#include "client/registry.h"
#include "common/units.h"

/* The first version of the struct. */
#define STATS_SIZE_MIN (offsetof(struct rmem_stats, atomics) + sizeof(uint64_t))

#define TURN_BYTES (16 * MIB) /* moved before others get a channel that is shared */

/* Run an operation on this thread's channel, in turns if others share it. */
static int run(struct rmem *rm, struct operation *op, struct why *why)
{
	struct channel *ch;
	int rc;

	do {
		rc = seats_enter(&rm->seats, &ch, why);
		if (rc)
			return rc;
		if (!seats_mine(&rm->seats) && op->left.left > TURN_BYTES)
			op->pause_bytes = op->left.left - TURN_BYTES;
		else
			op->pause_bytes = 0;
		rc = channel_run(ch, op, why);
		seats_leave(&rm->seats);
	} while (rc == 0 && op->left.left);
	return rc;
}

static int copy(struct rmem *rm, enum operation_kind kind, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, const char *call)
{
	struct operation op = { .kind = kind };
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0)
		op.as_of = lookup_as_of(&rm->session);
	if (rc == 0)
		rc = operation_plan(&op, local, nlocal, remote, nremote, &why);
	if (rc == 0 && op.left.left)
		rc = run(rm, &op, &why);
	return call_done(rc, call, &why);
}

int data_copy(struct rmem *rm, enum operation_kind kind, void *local, rmem_addr_t remote,
	size_t bytes, const char *call)
{
	struct iovec here = { local, bytes };
	struct rmem_iovec there = { remote, bytes };

	return copy(rm, kind, &here, 1, &there, 1, call);
}

RMEM_API int rmem_readv(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return copy(rm, OPERATION_READ, local, nlocal, remote, nremote, "rmem_readv");
}

RMEM_API int rmem_writev(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return copy(rm, OPERATION_WRITE, local, nlocal, remote, nremote, "rmem_writev");
}

int data_operate(struct rmem *rm, struct operation *op, uint64_t *out_old, const char *call)
{
	uint64_t old = 0;
	struct why why;
	int rc;

	op->old = &old;
	rc = call_enter(rm, &why);
	if (rc == 0 && !op->as_of)
		op->as_of = lookup_as_of(&rm->session);
	if (rc == 0)
		rc = operation_check_word(op, &why);
	if (rc == 0)
		rc = run(rm, op, &why);
	op->old = NULL;
	if (rc == 0 && out_old)
		*out_old = old;
	return call_done(rc, call, &why);
}

RMEM_API int rmem_fetch_add(struct rmem *rm, rmem_addr_t addr, uint64_t add, uint64_t *old)
{
	struct operation op = { .kind = OPERATION_FETCH_ADD, .addr = addr, .add_or_expected = add };

	return data_operate(rm, &op, old, "rmem_fetch_add");
}

RMEM_API int rmem_compare_swap(
	struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired, uint64_t *old)
{
	struct operation op = { .kind = OPERATION_COMPARE_SWAP,
		.addr = addr,
		.add_or_expected = expected,
		.desired = desired };

	return data_operate(rm, &op, old, "rmem_compare_swap");
}

RMEM_API int rmem_buf_alloc(struct rmem *rm, size_t bytes, void **out)
{
	struct buffer b = { .bytes = bytes };
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && !out)
		rc = why_set(&why, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = registry_add(&rm->session, &b, true, &why);
	if (rc == 0)
		*out = (void *)b.start;
	return call_done(rc, "rmem_buf_alloc", &why);
}

RMEM_API int rmem_buf_register(struct rmem *rm, void *addr, size_t bytes)
{
	struct buffer b = { .start = (uintptr_t)addr, .bytes = bytes };
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && !addr)
		rc = why_set(&why, -EINVAL, "the buffer is NULL");
	if (rc == 0)
		rc = registry_add(&rm->session, &b, false, &why);
	return call_done(rc, "rmem_buf_register", &why);
}

RMEM_API int rmem_buf_release(struct rmem *rm, void *addr)
{
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && addr)
		rc = registry_remove(&rm->session, (uintptr_t)addr, &why);
	return call_done(rc, "rmem_buf_release", &why);
}

RMEM_API int rmem_stats(struct rmem *rm, struct rmem_stats *out)
{
	struct rmem_stats stats;
	struct why why;
	size_t size;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && !out)
		rc = why_set(&why, -EINVAL, "out is NULL");
	if (rc == 0 && out->size < STATS_SIZE_MIN)
		rc = why_set(&why, -EINVAL, "out->size is %zu: start with the initializer macro",
			out->size);
	if (rc)
		return call_done(rc, "rmem_stats", &why);
	seats_stats(&rm->seats, &stats);
	/* A program that was built for another version gets what both know, and zeroes. */
	size = out->size;
	memset(out, 0, size);
	memcpy(out, &stats, size < sizeof(stats) ? size : sizeof(stats));
	out->size = size;
	return 0;
}
