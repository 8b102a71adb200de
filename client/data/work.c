/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/work.h"

#include <errno.h>
#include <string.h>

#include "client/data/keys.h"
#include "client/slabs/slab.h"

#define TEMP_MR_MIN (BOUNCE_PIECE_MAX + 1) /* up to here, copying is cheaper than registering */
#define WORK_NO_ROOM 1                     /* not before something has completed */
#define TRAVELS_ELSE 2                     /* beside 0, WORK_NO_ROOM and errors: not this way */

/* The segment at a position, as far as one key reaches. */
static bool next_segment(const struct channel *ch, const struct plan *at, struct plan_segment *out)
{
	size_t reach;

	if (!plan_peek(at, out))
		return false;
	reach = keys_reach(ch, out->remote);
	out->len = out->len < reach ? out->len : reach;
	return true;
}

/* Add the local side of a segment to a work request that goes on where the segment begins. */
static void add_piece(struct work *work, const struct plan_segment *seg, uint32_t lkey)
{
	work->sges[work->wr.num_sge++] =
		(struct ibv_sge){ (uintptr_t)seg->local, (uint32_t)seg->len, lkey };
	work->bytes += seg->len;
	plan_advance(&work->op->next, seg->len);
}

static bool continues(const struct work *work, const struct plan_segment *seg)
{
	return seg->remote == work->wr.wr.rdma.remote_addr + work->bytes;
}

/* A write that is short enough, to the end of its remote neighbours. */
static int build_inline(struct channel *ch, struct work *work)
{
	struct pipeline *p = &ch->pipeline;
	const uint32_t limit = endpoint_inline_bytes(p->ep);
	const int pieces = (int)endpoint_write_pieces(p->ep);
	struct plan_segment seg;
	bool fits = true;

	while (fits && next_segment(ch, &work->op->next, &seg)) {
		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		else if (!continues(work, &seg))
			break;
		fits = work->bytes + seg.len <= limit && work->wr.num_sge < pieces;
		if (fits)
			add_piece(work, &seg, 0);
	}
	/* Across two allocations: the other ways find out. */
	if (!fits || keys_known(ch, work->op, work->wr.wr.rdma.remote_addr, work->bytes,
			     &work->wr.wr.rdma.rkey, NULL)) {
		work->op->next = work->at;
		work->bytes = 0;
		work->wr.num_sge = 0;
		return TRAVELS_ELSE;
	}
	work->wr.send_flags |= IBV_SEND_INLINE;
	work->way = WAY_INLINE;
	return 0;
}

/* Is the segment in a buffer that is registered? */
static const struct buffer *registered(const struct pipeline *p, const struct plan_segment *seg)
{
	const struct buffer *b = buffers_find_range(p->buffers, (uintptr_t)seg->local, seg->len);

	return b && b->mr ? b : NULL;
}

/* Gather remote neighbours that are all in registered buffers; there is at least one. */
static int build_in_place(struct channel *ch, struct work *work, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	const int pieces = (int)(work->op->kind == OPERATION_READ ? endpoint_read_pieces(p->ep)
								  : endpoint_write_pieces(p->ep));
	struct plan_segment seg;

	work->way = WAY_IN_PLACE;
	while (work->wr.num_sge < pieces && next_segment(ch, &work->op->next, &seg)) {
		const struct buffer *b = registered(p, &seg);
		int rc;

		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		if (!b || !continues(work, &seg) || work->bytes + seg.len > PLAN_SEGMENT_MAX)
			break;
		rc = keys_known(ch, work->op, work->wr.wr.rdma.remote_addr, work->bytes + seg.len,
			&work->wr.wr.rdma.rkey, work->bytes ? NULL : errinfo);
		if (rc && !work->bytes)
			return rc;
		if (rc) /* the neighbour is another allocation: it gets its own request */
			break;
		add_piece(work, &seg, b->lkey);
	}
	return 0;
}

/* One long piece, registered for as long as it takes. */
static int build_temp_mr(struct channel *ch, struct work *work, const struct plan_segment *seg,
	struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	const struct iovec *piece = &work->op->next.local[seg->local_piece];
	const struct temp_mr_request request = {
		.pd = domain_pd(p->domain),
		.start = (uintptr_t)seg->local,
		.end = (uintptr_t)seg->local + seg->len,
		.limit = (uintptr_t)piece->iov_base + piece->iov_len,
		.writable = work->op->kind == OPERATION_READ,
		.owner = work->op,
		.number = p->built,
		.done = p->done,
	};
	uint64_t made = p->temp_mrs.made;
	struct ibv_mr *mr;
	int rc;

	work->wr.wr.rdma.remote_addr = seg->remote;
	rc = keys_known(ch, work->op, seg->remote, seg->len, &work->wr.wr.rdma.rkey, errinfo);
	if (rc)
		return rc;
	rc = temp_mrs_get(&p->temp_mrs, &request, &mr);
	if (rc == -EFAULT)
		return errinfo_set(errinfo, rc,
			"%zu bytes of local memory at %p: not all of it is mapped", seg->len,
			(void *)seg->local);
	if (rc)
		return rc == -EAGAIN ? WORK_NO_ROOM : TRAVELS_ELSE;
	traffic_add(&p->traffic.registrations, p->temp_mrs.made - made);
	work->way = WAY_TEMP_MR;
	add_piece(work, seg, mr->lkey);
	return 0;
}

/* How many bytes from here on are remote neighbours that would not travel better by themselves. */
static size_t bounceable(struct channel *ch, struct work *work, struct plan at)
{
	struct pipeline *p = &ch->pipeline;
	struct plan_segment seg;
	size_t n = 0;
	uint32_t rkey;

	while (n < BOUNCE_PIECE_MAX && next_segment(ch, &at, &seg)) {
		size_t take = seg.len < BOUNCE_PIECE_MAX - n ? seg.len : BOUNCE_PIECE_MAX - n;

		if (n == 0)
			work->wr.wr.rdma.remote_addr = seg.remote;
		else if (seg.remote != work->wr.wr.rdma.remote_addr + n || seg.len >= TEMP_MR_MIN ||
			 registered(p, &seg) ||
			 keys_known(
				 ch, work->op, work->wr.wr.rdma.remote_addr, n + take, &rkey, NULL))
			break;
		plan_advance(&at, take);
		n += take;
	}
	return n;
}

static int build_bounced(struct channel *ch, struct work *work, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	size_t bytes = bounceable(ch, work, work->at);
	int rc;

	rc = keys_known(
		ch, work->op, work->wr.wr.rdma.remote_addr, bytes, &work->wr.wr.rdma.rkey, errinfo);
	if (rc)
		return rc;
	work->bounced = bounce_take(&p->bounce, bytes);
	if (!work->bounced)
		return WORK_NO_ROOM;
	if (work->op->kind == OPERATION_WRITE)
		plan_copy(work->at, work->bounced, bytes, false);
	work->bytes = bytes;
	work->way = WAY_BOUNCED;
	work->sges[0] =
		(struct ibv_sge){ (uintptr_t)work->bounced, (uint32_t)bytes, p->bounce_mr->lkey };
	work->wr.num_sge = 1;
	plan_advance(&work->op->next, bytes);
	return 0;
}

static int build_atomic(struct channel *ch, struct work *work, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	struct operation *op = work->op;
	int rc;

	rc = keys_known(ch, op, op->addr, sizeof(uint64_t), &work->wr.wr.atomic.rkey, errinfo);
	if (rc)
		return rc;
	work->bounced = bounce_take(&p->bounce, sizeof(uint64_t));
	if (!work->bounced)
		return WORK_NO_ROOM;
	work->wr.opcode = op->kind == OPERATION_FETCH_ADD ? IBV_WR_ATOMIC_FETCH_AND_ADD
							  : IBV_WR_ATOMIC_CMP_AND_SWP;
	work->wr.wr.atomic.remote_addr = op->addr;
	work->wr.wr.atomic.compare_add = op->add_or_expected;
	work->wr.wr.atomic.swap = op->desired;
	work->bytes = sizeof(uint64_t);
	work->sges[0] =
		(struct ibv_sge){ (uintptr_t)work->bounced, sizeof(uint64_t), p->bounce_mr->lkey };
	work->wr.num_sge = 1;
	op->begun = true;
	return 0;
}

static int build_copy(struct channel *ch, struct work *work, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	struct plan_segment seg;
	int rc = TRAVELS_ELSE;

	if (!next_segment(ch, &work->op->next, &seg))
		return 0;
	work->at = work->op->next;
	work->wr.opcode = work->op->kind == OPERATION_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
	if (work->op->kind == OPERATION_WRITE && seg.len <= endpoint_inline_bytes(p->ep))
		rc = build_inline(ch, work);
	if (rc == TRAVELS_ELSE && registered(p, &seg))
		return build_in_place(ch, work, errinfo);
	if (rc == TRAVELS_ELSE && seg.len >= TEMP_MR_MIN)
		rc = build_temp_mr(ch, work, &seg, errinfo);
	return rc == TRAVELS_ELSE ? build_bounced(ch, work, errinfo) : rc;
}

static void count(struct pipeline *p, const struct work *work)
{
	p->once += operation_is_once(work->op);
	if (operation_is_copy(work->op))
		pipeline_count(p, work->way, work->bytes);
	else
		traffic_add(&p->traffic.atomics, 1);
}

/* One more work request for an operation that is not built yet. */
static int work_build(struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	struct work *work = &p->works[p->built % PIPELINE_DEPTH];
	int rc;

	if (p->apart && op->kind != OPERATION_WRITE && p->writes_end > p->done)
		return WORK_NO_ROOM;
	work->op = op;
	work->bytes = 0;
	work->bounced = NULL;
	work->wr.wr_id = p->built;
	work->wr.num_sge = 0;
	work->wr.send_flags = p->fence ? IBV_SEND_FENCE : 0;
	rc = operation_is_copy(op) ? build_copy(ch, work, errinfo)
				   : build_atomic(ch, work, errinfo);
	if (rc)
		return rc;
	p->fence = false; /* what follows in the queue is behind this one */
	count(p, work);
	work->bounce_head = p->bounce.head;
	op->outstanding++;
	p->built++;
	if (op->kind == OPERATION_WRITE)
		p->writes_end = p->built;
	return 0;
}

/*
 * The record is read when its write is built: by then the operation counts as begun, so that a thread that changes the record,
 * and then waits for what has begun, either waits for this write or has its change in it. One that the server keeps by now
 * is there already, and not written.
 */
static void renew_record(struct operation *op)
{
	atomic_thread_fence(memory_order_seq_cst);
	op->desired = slab_record(op->slab, op->slot);
	if (slab_is_kept(op->slab, op->slot))
		op->next.left = op->left.left = 0;
}

void work_build_all(struct channel *ch, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;

	while (p->building) {
		struct operation *op = p->building;
		int rc = 0;

		if (op->slab && !op->status && !op->outstanding)
			renew_record(op);
		while (!op->status && !operation_is_built(op) && rc == 0) {
			if (p->built - p->done >= p->depth)
				return;
			rc = work_build(ch, op, errinfo);
		}
		if (rc == WORK_NO_ROOM)
			return;
		if (rc)
			operation_fail(op, rc, reasons_add(p->reasons, errinfo));
		if (op->status)
			pipeline_give_up(p, op);
		pipeline_build_from(p, op->following);
	}
	if (p->long_end == UINT64_MAX)
		p->long_end = p->built;
	pipeline_complete(p);
}
