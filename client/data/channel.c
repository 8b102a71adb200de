/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/channel.h"

#include <errno.h>

#include "client/data/explain.h"
#include "common/log.h"

#define FAILURES_MAX 2                  /* connections that one operation may break */
#define PART_BYTES_UNKNOWN (1ULL << 63) /* before it joins: there are no keys yet */

struct channel *channel_create(struct session *s)
{
	struct channel *ch = heap_alloc(s->heap, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->session = s;
	ch->vitals = s->vitals;
	ch->number = atomic_fetch_add(&s->channels, 1) + 1;
	ch->buffers_version = UINT64_MAX;
	ch->epoch = UINT64_MAX;
	ch->until_ns = UINT64_MAX;
	ch->part_bytes = PART_BYTES_UNKNOWN;
	ch->pipeline.buffers = &ch->buffers;
	ch->fastpath.wr.sg_list = &ch->fastpath.sge;
	ch->fastpath.wr.num_sge = 1;
	ch->keys.heap = ch->buffers.heap = s->heap;
	grace_join(&s->grace, &ch->pipeline.turn);
	if (pipeline_init(&ch->pipeline, s->heap)) {
		channel_destroy(ch);
		return NULL;
	}
	return ch;
}

void channel_destroy(struct channel *ch)
{
	struct heap *heap;

	if (!ch)
		return;
	heap = ch->session->heap;
	pipeline_detach(&ch->pipeline);
	grace_leave(&ch->session->grace, &ch->pipeline.turn, !ch->pipeline.unsettled);
	pipeline_destroy(&ch->pipeline);
	key_cache_destroy(&ch->keys);
	/* The buffers themselves are the session's. */
	heap_free(heap, ch->buffers.items, ch->buffers.capacity * sizeof(*ch->buffers.items));
	heap_free(heap, ch, sizeof(*ch));
}

void channel_explain_break(struct channel *ch, struct errinfo *errinfo)
{
	struct operation *first = ch->pipeline.first;
	struct failure f = ch->pipeline.failure;
	struct plan_segment seg;

	if (!f.op && first && first->is_short)
		f = (struct failure){
			.op = first, .remote = first->one_remote.base, .bytes = first->result
		};
	else if (!f.op && first && operation_is_copy(first) && plan_peek(&first->left, &seg))
		f = (struct failure){ .op = first, .remote = seg.remote, .bytes = seg.len };
	else if (!f.op && first && !operation_is_copy(first))
		f = (struct failure){ .op = first, .remote = first->addr, .bytes = 8 };
	explain_failure(&f, ch->session, endpoint_peer(ch->pipeline.ep), errinfo);
	ch->pipeline.broke = reasons_add(ch->pipeline.reasons, errinfo);
	log_info("%s", errinfo->text);
}

void channel_note_failure(struct channel *ch, struct errinfo *errinfo)
{
	const struct failure *f = &ch->pipeline.failure;
	struct operation *op = f->op ? f->op : ch->pipeline.first;

	channel_explain_break(ch, errinfo);
	if (!op)
		return;
	op->failures += !f->op;
	if (f->status == IBV_WC_REM_INV_REQ_ERR && !operation_is_copy(op))
		operation_fail(op, -EOPNOTSUPP, ch->pipeline.broke);
	else if (op->failures >= FAILURES_MAX)
		operation_fail(op, -ECONNRESET, ch->pipeline.broke);
}
