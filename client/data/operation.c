/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/operation.h"

#include <errno.h>
#include <inttypes.h>

int operation_plan(struct operation *op, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, struct errinfo *errinfo)
{
	int rc = plan_start(&op->left, local, nlocal, remote, nremote, errinfo);

	if (rc)
		return rc;
	op->next = op->left;
	op->result = op->left.left;
	return 0;
}

int operation_plan_one(struct operation *op, void *local, rmem_addr_t remote, size_t bytes,
	struct errinfo *errinfo)
{
	op->one_local = (struct iovec){ local, bytes };
	op->one_remote = (struct rmem_iovec){ remote, bytes };
	return operation_plan(op, &op->one_local, 1, &op->one_remote, 1, errinfo);
}

void operation_plan_again(struct operation *op)
{
	op->is_short = false;
	op->one_local.iov_len = op->one_remote.len = op->result;
	op->left = (struct plan){
		.local = &op->one_local,
		.remote = &op->one_remote,
		.nlocal = 1,
		.nremote = 1,
		.left = op->result,
	};
	op->next = op->left;
	op->next.left = 0;
	op->pause_bytes = 0;
	op->outstanding = 1;
	op->lease_epoch = 0;
}

int operation_check_word(const struct operation *op, struct errinfo *errinfo)
{
	if (op->addr % sizeof(uint64_t) == 0)
		return 0;
	return errinfo_set(errinfo, -EINVAL,
		"0x%" PRIx64 " is no address for an atomic operation: it must be a multiple of 8",
		op->addr);
}
