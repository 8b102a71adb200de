/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/fastpath.h"

#include "client/data/explain.h"
#include "common/log.h"

bool fastpath_broke(struct channel *ch, enum operation_kind kind, uint64_t serial,
	const struct ibv_wc *wc, uint64_t began_ns, int error)
{
	struct operation op = { .kind = kind };
	const struct failure f = {
		.op = &op,
		.remote = ch->fastpath.wr.wr.rdma.remote_addr,
		.bytes = ch->fastpath.sge.length,
		.status = wc->status,
		.vendor_err = wc->vendor_err,
	};

	endpoint_break(ch->pipeline.ep);
	ch->began_ns = began_ns;
	ch->began_as_of = serial;
	if (endpoint_is_refusal(error))
		(void)endpoint_explain_refusal(&ch->fastpath_failure);
	else
		explain_failure(
			&f, ch->session, endpoint_peer(ch->pipeline.ep), &ch->fastpath_failure);
	log_info("%s", ch->fastpath_failure.text);
	return false;
}

/* The lease is looked at for the first of those that are posted together: they leave together. */
static inline bool may_be_built(const struct channel *ch)
{
	const struct pipeline *p = &ch->pipeline;

	return !p->building && !p->apart && p->built - p->done < p->depth &&
	       (p->built != p->posted || fastpath_is_leased(ch, clock_boot_ns()));
}

bool fastpath_start(
	struct channel *ch, struct operation *op, void *local, uint64_t remote, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;
	struct work *work = &p->works[p->built % PIPELINE_DEPTH];
	const struct near_key *key = fastpath_key(ch, local, remote, bytes);

	if (unlikely(!key || !may_be_built(ch)))
		return false;
	work->sges[0].addr = (uintptr_t)local;
	work->sges[0].length = (uint32_t)bytes;
	work->way = fastpath_choose_way(ch, op->kind, work->sges);
	work->bounced = NULL;
	if (work->way == WAY_BOUNCED) {
		work->bounced = bounce_take(&p->bounce, bytes);
		if (!work->bounced)
			return false;
		fastpath_bounce(p, op->kind, work->sges, work->bounced, local);
	}
	work->op = op;
	work->bytes = bytes;
	work->bounce_head = p->bounce.head;
	work->wr.wr_id = p->built++;
	work->wr.sg_list = work->sges;
	work->wr.num_sge = 1;
	fastpath_aim(&work->wr, op->kind, work->way, op->fence || p->fence ? IBV_SEND_FENCE : 0,
		remote, key->rkey);
	p->fence = false;
	operation_set_built(op, local, remote, bytes, key->serial);
	pipeline_add_built(p, op);
	return true;
}
