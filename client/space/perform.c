/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/perform.h"

#include "client/data/progress.h"
#include "client/space/exact.h"
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

	op->unit = p.n ? pipeline_next_unit(&ch->pipeline) : 0;
	for (int i = 0; i < p.n && rc == 0; i++) {
		finish(ch);
		front = (struct operation){
			.timed = op->timed, .deadline_ns = op->deadline_ns, .unit = op->unit
		};
		rc = exact_plan(&rm->session, pieces[i].base, &front, errinfo);
		if (rc == 0)
			rc = progress_start(ch, &front, errinfo);
		else if (rc == EXACT_NEEDLESS)
			rc = 0;
	}
	if (rc == 0)
		rc = progress_run(ch, op, errinfo);
	finish(ch);
	return rc;
}

/* In turns, where threads share a channel. */
int perform(struct rmem *rm, struct operation *op, struct errinfo *errinfo)
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
