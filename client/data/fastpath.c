/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/fastpath.h"

#include "client/data/explain.h"
#include "common/log.h"

const struct near_key *fastpath_object_key(
	struct channel *ch, enum operation_kind kind, uint64_t remote, size_t bytes)
{
	uint32_t slot;
	const struct near_key *key = key_cache_find_object(&ch->keys, remote, bytes, &slot);

	return key && kind != OPERATION_READ && !slab_is_sent(key->slab, slot) ? NULL : key;
}

bool fastpath_search_buffer(struct channel *ch, const void *local, size_t bytes)
{
	const struct buffer *b = ch->buffers.count
					 ? buffers_find_range(&ch->buffers, (uintptr_t)local, bytes)
					 : NULL;

	if (!b || !b->mr)
		return false;
	ch->fastpath.near = *b;
	return true;
}

bool fastpath_make_room(struct channel *ch)
{
	struct pipeline *p = &ch->pipeline;
	const uint64_t deepest = p->done + p->depth, batch = p->posted + PIPELINE_BATCH;

	if (!p->ep || p->building || p->fence || p->apart || endpoint_broken(p->ep) ||
		!fastpath_is_leased(ch, clock_boot_ns()))
		return false;
	p->short_end = deepest < batch ? deepest : batch;
	return p->built < p->short_end;
}

bool fastpath_take_bounce(
	struct channel *ch, struct work *work, enum operation_kind kind, void *local, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;

	work->bounced = bounce_take(&p->bounce, bytes);
	if (!work->bounced)
		return false;
	fastpath_bounce(p, kind, work->sges, work->bounced, local);
	work->way = WAY_BOUNCED;
	work->bounce_head = p->bounce.head;
	p->long_end = p->built + 1;
	pipeline_count(p, WAY_BOUNCED, bytes);
	return true;
}

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
	ch->pipeline.carried = ch->pipeline.unsettled = true;
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
