/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/verbs.h"

#define SIGNAL_EVERY 8 /* so that the next are posted while these are on their way */
#define PIN_MIN (BOUNCE_PIECE_MAX + 1) /* up to here, copying is cheaper than registering */
#define REAP_BATCH 16

/* What build_*() say beside 0 and errors. */
#define TRAVELS_ELSE 1 /* this way does not work for these bytes */
#define NO_ROOM 2      /* not before something has completed */

int pipeline_init(struct pipeline *p)
{
	return bounce_init(&p->bounce);
}

static void leave_domain(struct pipeline *p)
{
	if (p->bounce_mr)
		ibv_dereg_mr(p->bounce_mr);
	p->bounce_mr = NULL;
	domain_release(p->domain);
	p->domain = NULL;
}

void pipeline_destroy(struct pipeline *p)
{
	leave_domain(p);
	bounce_destroy(&p->bounce);
}

int pipeline_attach(struct pipeline *p, struct endpoint *ep, struct why *why)
{
	int rc;

	if (p->domain != endpoint_domain(ep)) {
		leave_domain(p);
		p->domain = domain_hold(endpoint_domain(ep));
	}
	if (!p->bounce_mr)
		p->bounce_mr = ibv_reg_mr(domain_pd(p->domain), p->bounce.memory, BOUNCE_BYTES,
			IBV_ACCESS_LOCAL_WRITE);
	if (!p->bounce_mr) {
		rc = verbs_errno();
		return why_set(why, rc,
			"cannot lock %zu KiB of memory for the RDMA device: %s (see 'ulimit -l')",
			BOUNCE_BYTES >> 10, strerror(-rc));
	}
	p->ep = ep;
	p->depth = endpoint_send_depth(ep);
	p->failure = (struct failure){ 0 };
	return 0;
}

/* Those at the head that are done leave, in order. */
static void complete(struct pipeline *p)
{
	while (p->first && p->first != p->building && operation_is_done(p->first)) {
		pins_release(&p->pins, p->first);
		p->first = p->first->following;
	}
	if (!p->first)
		p->last = NULL;
}

/* It cannot go on: what is on its way ends, the rest is not sent. */
static void give_up(struct operation *op, int rc)
{
	op->status = rc;
	op->begun = true;
	op->next.left = op->left.left = 0;
}

/* Build this one next. A fence before it stays until there is a work request that it can go with. */
static void build_from(struct pipeline *p, struct operation *op)
{
	p->building = op;
	if (op && op->fence)
		p->fence = true;
}

void pipeline_detach(struct pipeline *p)
{
	if (p->ep) {
		endpoint_break(p->ep);
		/* What has completed so far need not be repeated. */
		while (!pipeline_is_idle(p) && pipeline_wait(p, PIPELINE_FOREVER) == 0)
			;
		/* ... and must not: an atomic operation would be carried out twice. */
		complete(p);
		endpoint_destroy(p->ep);
	}
	p->ep = NULL;
	pins_clear(&p->pins);
	bounce_release(&p->bounce, p->bounce.head);
	p->built = p->posted = p->done = 0;
	for (struct operation *op = p->first; op; op = op->following) {
		op->outstanding = 0;
		op->next = op->left;
		if (op->uncertain)
			op->status = -EREMOTEIO;
		else if (!op->status)
			op->begun = false;
	}
	p->fence = false;
	build_from(p, p->first);
}

void pipeline_fail(struct pipeline *p, int rc)
{
	for (struct operation *op = p->first; op; op = op->following)
		give_up(op, op->status ? op->status : rc);
	p->first = p->building = p->last = NULL;
	p->fence = false;
}

void pipeline_add(struct pipeline *p, struct operation *op)
{
	pipeline_add_built(p, op);
	if (!p->building)
		build_from(p, op);
}

/* ---- building ---- */

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
static int build_inline(struct pipeline *p, struct work *work)
{
	const uint32_t limit = endpoint_inline_bytes(p->ep);
	const int pieces = (int)endpoint_write_pieces(p->ep);
	struct plan_segment seg;
	bool fits = true;

	while (fits && plan_peek(&work->op->next, &seg)) {
		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		else if (!continues(work, &seg))
			break;
		fits = work->bytes + seg.len <= limit && work->wr.num_sge < pieces;
		if (fits)
			add_piece(work, &seg, 0);
	}
	/* Across two allocations: the other ways find out. */
	if (!fits || p->key(p->ctx, work->wr.wr.rdma.remote_addr, work->bytes,
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
static int build_in_place(struct pipeline *p, struct work *work, struct why *why)
{
	const int pieces = (int)(work->op->kind == OPERATION_READ ? endpoint_read_pieces(p->ep)
								  : endpoint_write_pieces(p->ep));
	struct plan_segment seg;

	work->way = WAY_IN_PLACE;
	while (work->wr.num_sge < pieces && plan_peek(&work->op->next, &seg)) {
		const struct buffer *b = registered(p, &seg);
		int rc;

		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		if (!b || !continues(work, &seg) || work->bytes + seg.len > PLAN_SEGMENT_MAX)
			break;
		rc = p->key(p->ctx, work->wr.wr.rdma.remote_addr, work->bytes + seg.len,
			&work->wr.wr.rdma.rkey, work->bytes ? NULL : why);
		if (rc && !work->bytes)
			return rc;
		if (rc) /* the neighbour is another allocation: it gets its own request */
			break;
		add_piece(work, &seg, b->lkey);
	}
	return 0;
}

/* One long piece, registered for as long as it takes. */
static int build_pinned(
	struct pipeline *p, struct work *work, const struct plan_segment *seg, struct why *why)
{
	const struct iovec *piece = &work->op->next.local[seg->local_piece];
	const struct pin_request request = {
		.pd = domain_pd(p->domain),
		.start = (uintptr_t)seg->local,
		.end = (uintptr_t)seg->local + seg->len,
		.limit = (uintptr_t)piece->iov_base + piece->iov_len,
		.writable = work->op->kind == OPERATION_READ,
		.owner = work->op,
		.number = p->built,
		.done = p->done,
	};
	uint64_t made = p->pins.made;
	struct ibv_mr *mr;
	int rc;

	work->wr.wr.rdma.remote_addr = seg->remote;
	rc = p->key(p->ctx, seg->remote, seg->len, &work->wr.wr.rdma.rkey, why);
	if (rc)
		return rc;
	rc = pins_get(&p->pins, &request, &mr);
	if (rc)
		return rc == -EAGAIN ? NO_ROOM : TRAVELS_ELSE;
	traffic_add(&p->traffic.registrations, p->pins.made - made);
	work->way = WAY_PINNED;
	add_piece(work, seg, mr->lkey);
	return 0;
}

/* How many bytes from here on are remote neighbours that would not travel better by themselves. */
static size_t bounceable(struct pipeline *p, struct work *work, struct plan at)
{
	struct plan_segment seg;
	size_t n = 0;
	uint32_t rkey;

	while (n < BOUNCE_PIECE_MAX && plan_peek(&at, &seg)) {
		size_t take = seg.len < BOUNCE_PIECE_MAX - n ? seg.len : BOUNCE_PIECE_MAX - n;

		if (n == 0)
			work->wr.wr.rdma.remote_addr = seg.remote;
		else if (seg.remote != work->wr.wr.rdma.remote_addr + n || seg.len >= PIN_MIN ||
			 registered(p, &seg) ||
			 p->key(p->ctx, work->wr.wr.rdma.remote_addr, n + take, &rkey, NULL))
			break;
		plan_advance(&at, take);
		n += take;
	}
	return n;
}

/* Copy between the bounce memory and the pieces of a plan. */
static void bounce_copy(struct plan at, uint8_t *bounced, size_t bytes, bool out)
{
	struct plan_segment seg;

	for (size_t n = 0; n < bytes && plan_peek(&at, &seg);) {
		size_t take = seg.len < bytes - n ? seg.len : bytes - n;

		if (out)
			memcpy(seg.local, bounced + n, take);
		else
			memcpy(bounced + n, seg.local, take);
		plan_advance(&at, take);
		n += take;
	}
}

static int build_bounced(struct pipeline *p, struct work *work, struct why *why)
{
	size_t bytes = bounceable(p, work, work->at);
	int rc;

	rc = p->key(p->ctx, work->wr.wr.rdma.remote_addr, bytes, &work->wr.wr.rdma.rkey, why);
	if (rc)
		return rc;
	work->bounced = bounce_take(&p->bounce, bytes);
	if (!work->bounced)
		return NO_ROOM;
	if (work->op->kind == OPERATION_WRITE)
		bounce_copy(work->at, work->bounced, bytes, false);
	work->bytes = bytes;
	work->way = WAY_BOUNCED;
	work->sges[0] =
		(struct ibv_sge){ (uintptr_t)work->bounced, (uint32_t)bytes, p->bounce_mr->lkey };
	work->wr.num_sge = 1;
	plan_advance(&work->op->next, bytes);
	return 0;
}

static int build_atomic(struct pipeline *p, struct work *work, struct why *why)
{
	struct operation *op = work->op;
	int rc;

	rc = p->key(p->ctx, op->addr, sizeof(uint64_t), &work->wr.wr.atomic.rkey, why);
	if (rc)
		return rc;
	work->bounced = bounce_take(&p->bounce, sizeof(uint64_t));
	if (!work->bounced)
		return NO_ROOM;
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

static int build_copy(struct pipeline *p, struct work *work, struct why *why)
{
	struct plan_segment seg;
	int rc = TRAVELS_ELSE;

	if (!plan_peek(&work->op->next, &seg))
		return 0;
	work->at = work->op->next;
	work->wr.opcode = work->op->kind == OPERATION_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
	if (work->op->kind == OPERATION_WRITE && seg.len <= endpoint_inline_bytes(p->ep))
		rc = build_inline(p, work);
	if (rc == TRAVELS_ELSE && registered(p, &seg))
		return build_in_place(p, work, why);
	if (rc == TRAVELS_ELSE && seg.len >= PIN_MIN)
		rc = build_pinned(p, work, &seg, why);
	return rc == TRAVELS_ELSE ? build_bounced(p, work, why) : rc;
}

/* One more work request for an operation that is not built yet. */
static int build_next(struct pipeline *p, struct operation *op, struct why *why)
{
	struct work *work = &p->works[p->built % PIPELINE_DEPTH];
	int rc;

	work->op = op;
	work->bytes = 0;
	work->bounced = NULL;
	work->wr.wr_id = p->built;
	work->wr.sg_list = work->sges;
	work->wr.num_sge = 0;
	work->wr.send_flags = p->fence ? IBV_SEND_FENCE : 0;
	rc = operation_is_copy(op) ? build_copy(p, work, why) : build_atomic(p, work, why);
	if (rc)
		return rc;
	p->fence = false; /* what follows in the queue is behind this one */
	work->bounce_head = p->bounce.head;
	op->outstanding++;
	p->built++;
	return 0;
}

void pipeline_build(struct pipeline *p, struct why *why)
{
	while (p->building) {
		struct operation *op = p->building;
		int rc = 0;

		while (!op->status && !operation_is_built(op) && rc == 0) {
			if (p->built - p->done >= p->depth)
				return;
			rc = build_next(p, op, why);
		}
		if (rc == NO_ROOM)
			return;
		if (rc || op->status)
			give_up(op, rc ? rc : op->status);
		build_from(p, op->following);
	}
	complete(p);
}

/* ---- posting ---- */

static void count(struct traffic *t, const struct work *work)
{
	if (!operation_is_copy(work->op)) {
		traffic_add(&t->atomics, 1);
		return;
	}
	traffic_add(&t->requests[work->way], 1);
	traffic_add(&t->bytes[work->way], work->bytes);
}

int pipeline_post(struct pipeline *p, struct why *why)
{
	struct ibv_send_wr *first = &p->works[p->posted % PIPELINE_DEPTH].wr, *bad = NULL;
	int rc;

	if (p->posted == p->built)
		return 0;
	for (uint64_t i = p->posted; i < p->built; i++) {
		struct ibv_send_wr *wr = &p->works[i % PIPELINE_DEPTH].wr;
		bool last = i + 1 == p->built;

		wr->next = last ? NULL : &p->works[(i + 1) % PIPELINE_DEPTH].wr;
		if (last || (i + 1) % SIGNAL_EVERY == 0)
			wr->send_flags |= IBV_SEND_SIGNALED;
	}
	rc = endpoint_post(p->ep, first, &bad, why);
	traffic_add(&p->traffic.doorbells, 1);
	if (rc) /* what was not posted does not exist */
		p->built = bad->wr_id;
	for (; p->posted < p->built; p->posted++) {
		struct work *work = &p->works[p->posted % PIPELINE_DEPTH];

		work->op->uncertain = !operation_is_copy(work->op);
		count(&p->traffic, work);
	}
	return rc;
}

/* ---- completing ---- */

/* All up to a number have succeeded, in order. */
static void finish(struct pipeline *p, uint64_t end)
{
	for (; p->done < end; p->done++) {
		const struct work *work = &p->works[p->done % PIPELINE_DEPTH];
		struct operation *op = work->op;

		if (!operation_is_copy(op)) {
			if (op->old)
				memcpy(op->old, work->bounced, sizeof(uint64_t));
			op->uncertain = false;
		} else {
			if (work->way == WAY_BOUNCED && op->kind == OPERATION_READ)
				bounce_copy(work->at, work->bounced, work->bytes, true);
			if (work->bytes == op->left.left)
				op->left.left = 0; /* the end: nobody asks where that is */
			else
				plan_advance(&op->left, work->bytes);
		}
		op->outstanding--;
		bounce_release(&p->bounce, work->bounce_head);
	}
}

/* Did the server's device refuse it, and with it everything behind it? */
static bool refused(enum ibv_wc_status status)
{
	return status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
	       status == IBV_WC_REM_OP_ERR;
}

static void fail(struct pipeline *p, const struct ibv_wc *wc)
{
	const struct work *work = &p->works[wc->wr_id % PIPELINE_DEPTH];

	finish(p, wc->wr_id); /* those before it did not fail */
	p->failure = (struct failure){
		.op = work->op,
		.remote = operation_is_copy(work->op) ? work->wr.wr.rdma.remote_addr
						      : work->wr.wr.atomic.remote_addr,
		.bytes = work->bytes,
		.status = wc->status,
		.vendor_err = wc->vendor_err,
	};
	work->op->failures++;
	if (!refused(wc->status))
		return;
	for (uint64_t i = wc->wr_id; i < p->posted; i++)
		p->works[i % PIPELINE_DEPTH].op->uncertain = false;
}

/* 0, or -ECONNRESET when the last of those that failed has come. */
static int take(struct pipeline *p, const struct ibv_wc *wc, int n)
{
	for (int i = 0; i < n; i++) {
		if (p->failure.op) {
			p->done = wc[i].wr_id + 1;
		} else if (wc[i].status == IBV_WC_SUCCESS) {
			finish(p, wc[i].wr_id + 1);
		} else {
			fail(p, &wc[i]);
			p->done = wc[i].wr_id + 1;
		}
	}
	if (p->failure.op)
		return pipeline_is_idle(p) ? -ECONNRESET : 0;
	complete(p);
	return 0;
}

int pipeline_poll(struct pipeline *p)
{
	struct ibv_wc wc[REAP_BATCH];
	int n;

	do {
		n = endpoint_poll(p->ep, wc, REAP_BATCH);
		if (n < 0 || (n > 0 && take(p, wc, n)))
			return -ECONNRESET;
	} while (n == REAP_BATCH || (n > 0 && p->failure.op));
	/* All will be flushed: that does not take long. */
	return p->failure.op ? pipeline_wait(p, PIPELINE_FOREVER) : 0;
}

int pipeline_wait(struct pipeline *p, uint64_t deadline_ns)
{
	struct ibv_wc wc[REAP_BATCH];

	do {
		int n = deadline_ns == PIPELINE_FOREVER || p->failure.op
				? endpoint_reap(p->ep, wc, REAP_BATCH, PIPELINE_PROGRESS_NS)
				: endpoint_wait(p->ep, wc, REAP_BATCH, deadline_ns);

		if (n < 0 || take(p, wc, n))
			return -ECONNRESET;
	} while (p->failure.op);
	return 0;
}
