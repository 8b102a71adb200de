/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/access.h"

#include "client/data/keys.h"
#include "client/data/progress.h"
#include "client/space/checking.h"
#include "client/space/exact.h"
#include "client/space/op.h"
#include "common/units.h"

#define TURN_BYTES (16 * MIB) /* moved before others get a channel that is shared */

static void finish(struct channel *ch)
{
	struct errinfo ignored;

	while (channel_is_busy(ch))
		(void)progress_advance(ch, PIPELINE_FOREVER, &ignored);
}

/*
 * The operation, and in front of it the records of the objects that it writes to. Only the last record is on its way
 * together with it: mostly there is one.
 */
static int run(struct rmem *rm, struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	const struct exact_pieces p = exact_pieces(&rm->session, op);
	const struct rmem_iovec *pieces = p.pieces ? p.pieces : &p.word;
	struct operation front;
	int rc = 0;

	for (int i = 0; i < p.n && rc == 0; i++) {
		finish(ch);
		front = (struct operation){ .timed = op->timed, .deadline_ns = op->deadline_ns };
		if (exact_plan(&rm->session, pieces[i].base, &front))
			rc = progress_start(ch, &front, errinfo);
	}
	if (rc == 0)
		rc = progress_run(ch, op, errinfo);
	finish(ch);
	return rc;
}

/* In turns, where threads share a channel. */
int access_perform(struct rmem *rm, struct operation *op, struct errinfo *errinfo)
{
	struct channel *ch;
	int rc;

	do {
		rc = thread_channels_enter(&rm->channels,
			op->timed ? op->deadline_ns : PIPELINE_FOREVER, &ch, errinfo);
		if (rc)
			return rc;
		if (!thread_channels_mine(&rm->channels) && op->left.left > TURN_BYTES)
			op->pause_bytes = op->left.left - TURN_BYTES;
		else
			op->pause_bytes = 0;
		rc = run(rm, ch, op, errinfo);
		thread_channels_leave(&rm->channels);
	} while (rc == 0 && op->left.left);
	return rc;
}

static int perform(struct rmem *rm, struct operation *op, struct errinfo *errinfo)
{
	const int rc = access_perform(rm, op, errinfo);

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
		rc = perform(rm, &op, &errinfo);
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
		rc = perform(rm, &op, &errinfo);
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
		rc = perform(rm, op, &errinfo);
	op->old = NULL;
	if (rc == 0 && out_old)
		*out_old = old;
	return call_done(rc, call, &errinfo);
}
