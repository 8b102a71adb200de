/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/access.h"

#include "client/data/keys.h"
#include "client/space/checking.h"
#include "client/space/op.h"
#include "client/space/perform.h"

static int perform_checked(struct rmem *rm, struct operation *op, struct errinfo *errinfo)
{
	const int rc = perform(rm, op, errinfo);

	checking_result(rm, op, rc);
	return rc;
}

int access_copy(struct rmem *rm, enum operation_kind kind, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, const char *call)
{
	struct operation op = { .kind = kind };
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0)
		op.as_of = keys_as_of(&rm->session);
	if (rc == 0)
		rc = operation_plan(&op, local, nlocal, remote, nremote, &errinfo);
	if (rc == 0 && op.left.left)
		rc = perform_checked(rm, &op, &errinfo);
	return call_done(rc, call, &errinfo);
}

int access_copy_one(struct rmem *rm, enum operation_kind kind, void *local, rmem_addr_t remote,
	size_t bytes, const char *call)
{
	const struct iovec here = { local, bytes };
	const struct rmem_iovec there = { remote, bytes };

	return access_copy(rm, kind, &here, 1, &there, 1, call);
}

int access_run(struct rmem *rm, const struct rmem_op *from, const char *call)
{
	struct operation op = { .kind = op_kind(from) };
	uint64_t old = 0;
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0)
		op.as_of = keys_as_of(&rm->session);
	if (rc == 0)
		rc = op_plan(from, &op, &errinfo);
	op.old = &old;
	if (rc == 0 && (op.left.left || !operation_is_copy(&op)))
		rc = perform_checked(rm, &op, &errinfo);
	if (rc == 0 && from->old && !operation_is_copy(&op))
		*from->old = old;
	return call_done(rc, call, &errinfo);
}

int access_operate(struct rmem *rm, struct operation *op, uint64_t *out_old, const char *call)
{
	uint64_t old = 0;
	struct errinfo errinfo;
	int rc;

	op->old = &old;
	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !op->as_of)
		op->as_of = keys_as_of(&rm->session);
	if (rc == 0)
		rc = operation_check_word(op, &errinfo);
	if (rc == 0)
		rc = perform_checked(rm, op, &errinfo);
	op->old = NULL;
	if (rc == 0 && out_old)
		*out_old = old;
	return call_done(rc, call, &errinfo);
}
