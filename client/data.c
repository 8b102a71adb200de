/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that need no server: they move data, or are about local memory. */
#include <errno.h>
#include <string.h>

#include "client/call.h"
#include "client/copy.h"
#include "client/plan.h"
#include "client/word.h"

/* The first version of the struct. */
#define STATS_SIZE_MIN (offsetof(struct rmem_stats, atomics) + sizeof(uint64_t))

static int copy(struct rmem *rm, enum transfer_direction direction, const struct iovec *local,
	int nlocal, const struct rmem_iovec *remote, int nremote, const char *call)
{
	struct plan plan;
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0)
		rc = plan_start(&plan, local, nlocal, remote, nremote, &why);
	if (rc == 0)
		rc = copy_run(&rm->session, direction, &plan, &why);
	return call_done(rc, call, &why);
}

RMEM_API int rmem_read(struct rmem *rm, void *dst, rmem_addr_t src, size_t bytes)
{
	struct iovec local = { dst, bytes };
	struct rmem_iovec remote = { src, bytes };

	return copy(rm, TRANSFER_READ, &local, 1, &remote, 1, "rmem_read");
}

RMEM_API int rmem_write(struct rmem *rm, rmem_addr_t dst, const void *src, size_t bytes)
{
	struct iovec local = { (void *)(uintptr_t)src, bytes };
	struct rmem_iovec remote = { dst, bytes };

	return copy(rm, TRANSFER_WRITE, &local, 1, &remote, 1, "rmem_write");
}

RMEM_API int rmem_readv(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return copy(rm, TRANSFER_READ, local, nlocal, remote, nremote, "rmem_readv");
}

RMEM_API int rmem_writev(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	return copy(rm, TRANSFER_WRITE, local, nlocal, remote, nremote, "rmem_writev");
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
		rc = session_add_buffer(&rm->session, &b, true, &why);
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
		rc = session_add_buffer(&rm->session, &b, false, &why);
	return call_done(rc, "rmem_buf_register", &why);
}

RMEM_API int rmem_buf_release(struct rmem *rm, void *addr)
{
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0)
		rc = session_remove_buffer(&rm->session, (uintptr_t)addr, &why);
	return call_done(rc, "rmem_buf_release", &why);
}

RMEM_API int rmem_stats(struct rmem *rm, struct rmem_stats *out)
{
	struct rmem_stats stats = RMEM_STATS_INIT;
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
	session_urgent_lock(&rm->session);
	transfer_stats(rm->session.transfer, &stats);
	session_channel_unlock(&rm->session);
	/* A program that was built for another version gets what both know, and zeroes. */
	size = out->size;
	memset(out, 0, size);
	memcpy(out, &stats, size < sizeof(stats) ? size : sizeof(stats));
	out->size = size;
	return 0;
}

static int operate(struct rmem *rm, rmem_addr_t addr, const struct transfer_atomic *operation,
	uint64_t *old, const char *call)
{
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0)
		rc = word_run(&rm->session, operation, addr, old, &why);
	return call_done(rc, call, &why);
}

RMEM_API int rmem_fetch_add(struct rmem *rm, rmem_addr_t addr, uint64_t add, uint64_t *old)
{
	const struct transfer_atomic operation = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.add_or_expected = add,
	};

	return operate(rm, addr, &operation, old, "rmem_fetch_add");
}

RMEM_API int rmem_compare_swap(
	struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired, uint64_t *old)
{
	const struct transfer_atomic operation = {
		.opcode = IBV_WR_ATOMIC_CMP_AND_SWP,
		.add_or_expected = expected,
		.desired = desired,
	};

	return operate(rm, addr, &operation, old, "rmem_compare_swap");
}
