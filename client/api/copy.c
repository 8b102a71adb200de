/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that move data and wait for it, those about local memory, and rmem_stats(). */
#include <errno.h>

#include "client/control/registry.h"
#include "client/data/fastpath.h"
#include "client/space/access.h"
#include "client/space/checking.h"
#include "client/space/op.h"
#include "client/space/remote_copy.h"

#define STATS_V1_SIZE (offsetof(struct rmem_stats, atomics) + sizeof(uint64_t))

/*
 * The public calls themselves, so that nothing has to be kept for a second way before it is known to be needed.
 */
RMEM_API int rmem_read(struct rmem *rm, void *dst, rmem_addr_t src, size_t bytes)
{
	struct channel *ch = likely(rm) ? thread_channels_mine(&rm->channels) : NULL;

	if (likely(ch && fastpath_copy(ch, OPERATION_READ, dst, src, bytes)))
		return 0;
	return access_copy_one(rm, OPERATION_READ, dst, src, bytes, "rmem_read");
}

RMEM_API int rmem_write(struct rmem *rm, rmem_addr_t dst, const void *src, size_t bytes)
{
	struct channel *ch = likely(rm) ? thread_channels_mine(&rm->channels) : NULL;
	void *local = (void *)(uintptr_t)src; /* it is only read */

	if (likely(ch && fastpath_copy(ch, OPERATION_WRITE, local, dst, bytes)))
		return 0;
	return access_copy_one(rm, OPERATION_WRITE, local, dst, bytes, "rmem_write");
}

RMEM_API int rmem_readv(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return access_copy(rm, OPERATION_READ, local, nlocal, remote, nremote, "rmem_readv");
}

RMEM_API int rmem_writev(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return access_copy(rm, OPERATION_WRITE, local, nlocal, remote, nremote, "rmem_writev");
}

RMEM_API int rmem_fetch_add(struct rmem *rm, rmem_addr_t addr, uint64_t add, uint64_t *old)
{
	struct operation op = { .kind = OPERATION_FETCH_ADD, .addr = addr, .add_or_expected = add };

	return access_operate(rm, &op, old, "rmem_fetch_add");
}

RMEM_API int rmem_compare_swap(
	struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired, uint64_t *old)
{
	struct operation op = { .kind = OPERATION_COMPARE_SWAP,
		.addr = addr,
		.add_or_expected = expected,
		.desired = desired };

	return access_operate(rm, &op, old, "rmem_compare_swap");
}

RMEM_API int rmem_copy(struct rmem *rm, rmem_addr_t dst, rmem_addr_t src, size_t bytes)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && bytes)
		rc = remote_copy(rm, dst, src, bytes, call_deadline(rm), &errinfo);
	if (rc == -EFAULT && rm->checking && !checking_bad_range(rm, dst, bytes, false))
		(void)checking_bad_range(rm, src, bytes, true);
	return call_done(rc, "rmem_copy", &errinfo);
}

RMEM_API int rmem_fill(struct rmem *rm, rmem_addr_t dst, uint8_t byte, size_t bytes)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && bytes)
		rc = remote_fill(rm, dst, byte, bytes, call_deadline(rm), &errinfo);
	if (rc == -EFAULT && rm->checking)
		(void)checking_bad_range(rm, dst, bytes, false);
	return call_done(rc, "rmem_fill", &errinfo);
}

RMEM_API int rmem_run(struct rmem *rm, const struct rmem_op *op)
{
	struct errinfo errinfo = { "" };
	struct rmem_op mine;
	int rc = op_read(op, RMEM_OP_ONCE, &mine, &errinfo);

	return rc ? call_done(rc, "rmem_run", &errinfo) : access_run(rm, &mine, "rmem_run");
}

RMEM_API int rmem_buf_alloc(struct rmem *rm, size_t bytes, void **out)
{
	struct buffer b = { .bytes = bytes };
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = registry_add(&rm->session, &b, true, &errinfo);
	if (rc == 0)
		*out = (void *)b.start;
	return call_done(rc, "rmem_buf_alloc", &errinfo);
}

RMEM_API int rmem_buf_register(struct rmem *rm, void *addr, size_t bytes)
{
	struct buffer b = { .start = (uintptr_t)addr, .bytes = bytes };
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !addr)
		rc = errinfo_set(&errinfo, -EINVAL, "the buffer is NULL");
	if (rc == 0)
		rc = registry_add(&rm->session, &b, false, &errinfo);
	return call_done(rc, "rmem_buf_register", &errinfo);
}

RMEM_API int rmem_buf_release(struct rmem *rm, void *addr)
{
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && addr)
		rc = registry_remove(&rm->session, (uintptr_t)addr, &errinfo);
	return call_done(rc, "rmem_buf_release", &errinfo);
}

RMEM_API int rmem_stats(struct rmem *rm, struct rmem_stats *out)
{
	struct rmem_stats stats;
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0) {
		thread_channels_stats(&rm->channels, &stats);
		rc = call_copy_out(out, &stats, sizeof(stats), STATS_V1_SIZE, &errinfo);
	}
	return call_done(rc, "rmem_stats", &errinfo);
}
