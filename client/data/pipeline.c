/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/denial.h"
#include "common/verbs.h"

/*
 * One request in so many of those under way is signaled: the next are started while the others are on their
 * way, and not so few that each has to ring a doorbell of its own.
 */
#define SIGNALS_UNDER_WAY 4
#define REAP_BATCH 16

int pipeline_init(struct pipeline *p, struct heap *heap)
{
	for (unsigned i = 0; i < PIPELINE_DEPTH; i++) {
		p->works[i].wr.next = &p->works[(i + 1) % PIPELINE_DEPTH].wr;
		p->works[i].wr.sg_list = p->works[i].sges;
	}
	p->deadline_ns = PIPELINE_FOREVER;
	return bounce_init(&p->bounce, heap);
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

static void end_operations(struct pipeline *p, uint64_t n)
{
	if (!p->unsettled)
		grace_add(&p->turn.ended, n);
	else if (!p->first && !p->carried)
		atomic_store_explicit(&p->turn.lost,
			atomic_load_explicit(&p->turn.begun, memory_order_relaxed),
			memory_order_release);
}

/*
 * The server has ended the connection before: what was sent on it was carried out, or never will be. What has not
 * completed is all that has not ended.
 */
static void settle(struct pipeline *p)
{
	uint64_t left = p->carried;

	for (const struct operation *op = p->first; op; op = op->following)
		left++;
	p->unsettled = false;
	atomic_store_explicit(&p->turn.ended,
		atomic_load_explicit(&p->turn.begun, memory_order_relaxed) - left,
		memory_order_release);
}

int pipeline_attach(struct pipeline *p, struct endpoint *ep, struct errinfo *errinfo)
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
		if (rc == -ENOMEM)
			return buffers_explain_memory(BOUNCE_BYTES,
				"; or use fewer channels and queues, which lock as much each",
				errinfo);
		return denial_explain(
			DENIED_PINNED, rc, "registering memory with the RDMA device", errinfo);
	}
	p->ep = ep;
	p->depth = endpoint_send_depth(ep);
	p->apart = endpoint_keeps_apart(ep);
	p->flushed = false;
	p->failure = (struct failure){ 0 };
	p->broke = 0;
	settle(p);
	return 0;
}

/*
 * A record has arrived. If not, or if perhaps after a later one of its slot, that one is to be sent again; where this one
 * may still arrive, when it cannot any more. So is one that has changed since it was planned: the journal may have had the
 * one before in a line on its way.
 */
static void note_sent(const struct pipeline *p, const struct operation *op)
{
	if (!op->slab)
		return;
	if (op->status == 0 && op->desired == op->add_or_expected &&
		slab_record(op->slab, op->slot) == op->desired)
		atomic_store_explicit(&op->slab->sent[op->slot], op->desired, memory_order_release);
	else if (p->unsettled)
		depot_doubt(op->slab->depot, op->slab);
	else
		depot_touch(op->slab->depot, op->slab, op->slot);
}

void pipeline_complete(struct pipeline *p)
{
	uint64_t n = 0;

	for (; p->first && p->first != p->building && operation_is_done(p->first); n++) {
		temp_mrs_release(&p->temp_mrs, p->first);
		if (p->first->is_journal)
			note_sent(p, p->first);
		p->first = p->first->following;
	}
	if (!p->first)
		p->last = NULL;
	end_operations(p, n);
}

void pipeline_drop_carried(struct pipeline *p)
{
	const bool carried = p->carried;

	p->carried = false;
	if (carried)
		end_operations(p, 1);
}

/* Data does not go without a record that belongs in front of it. It is the first behind the records, if it was started. */
static void fail_unit(struct pipeline *p, const struct operation *record)
{
	struct operation *data = record->following;

	p->failed_unit = record->unit;
	p->failed_status = record->status;
	p->failed_reason = record->reason;
	while (data && data->is_journal)
		data = data->following;
	if (data && data->unit == record->unit && !data->status)
		operation_fail(data, record->status, record->reason);
}

void pipeline_give_up(struct pipeline *p, struct operation *op)
{
	if (op->is_journal && op->unit)
		fail_unit(p, op);
	op->begun = true;
	op->next.left = op->left.left = 0;
}

/* Build this one next. A fence before it stays until there is a work request that it can go with. */
void pipeline_build_from(struct pipeline *p, struct operation *op)
{
	p->building = op;
	if (op && op->fence)
		p->fence = true;
	p->short_end = 0;
}

/* Work requests that were built are not sent: they do not count. */
static void drop_built(struct pipeline *p, uint64_t from)
{
	for (; p->built > from; p->built--) {
		const struct work *work = &p->works[(p->built - 1) % PIPELINE_DEPTH];

		if (!operation_is_copy(work->op))
			traffic_add(&p->traffic.atomics, -1UL);
		else {
			traffic_add(&p->traffic.requests[work->way], -1UL);
			traffic_add(&p->traffic.bytes[work->way], -work->bytes);
		}
	}
}

/* Did the server's device refuse it, and with it everything behind it? */
static bool refused(enum ibv_wc_status status)
{
	return status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
	       status == IBV_WC_REM_OP_ERR;
}

void pipeline_detach(struct pipeline *p)
{
	if (p->ep) {
		endpoint_break(p->ep);
		/* What has completed so far need not be repeated. */
		pipeline_flush(p);
		/* ... and must not: an atomic operation would be carried out twice. */
		pipeline_complete(p);
		endpoint_destroy(p->ep);
		/* Flushed is not ended: a packet may be under way. The server drops those that follow a refused one. */
		if (p->posted != p->done || (p->failure.op && !refused(p->failure.status)))
			p->unsettled = true;
	}
	p->ep = NULL;
	temp_mrs_clear(&p->temp_mrs);
	bounce_release(&p->bounce, p->bounce.head);
	drop_built(p, p->posted);
	p->built = p->posted = p->done = p->writes_end = p->waited_for = 0;
	p->once = 0;
	for (struct operation *op = p->first; op; op = op->following) {
		if (op->is_short)
			operation_plan_again(op);
		op->outstanding = 0;
		op->next = op->left;
		if (op->uncertain)
			operation_fail(op, -EREMOTEIO, p->broke);
		else if (!op->status)
			op->begun = false;
	}
	p->fence = false;
	p->long_end = p->first ? UINT64_MAX : 0;
	pipeline_build_from(p, p->first);
}

void pipeline_fail(struct pipeline *p, int rc, const struct errinfo *errinfo)
{
	const uint32_t reason = reasons_add(p->reasons, errinfo);
	uint64_t n = 0;

	for (struct operation *op = p->first; op; op = op->following, n++) {
		if (!op->status)
			operation_fail(op, rc, reason);
		if (op->is_journal)
			note_sent(p, op);
		pipeline_give_up(p, op);
	}
	p->first = p->building = p->last = NULL;
	end_operations(p, n);
	p->fence = false;
	p->long_end = p->short_end = 0;
	p->deadline_ns = PIPELINE_FOREVER;
}

void pipeline_add(struct pipeline *p, struct operation *op)
{
	if (!p->carried)
		grace_add(&p->turn.begun, 1);
	p->carried = false;
	if (op->unit && op->unit == p->failed_unit && !op->is_journal)
		operation_fail(op, p->failed_status, p->failed_reason);
	pipeline_link(p, op);
	p->long_end = UINT64_MAX;
	if (op->timed && op->deadline_ns < p->deadline_ns)
		p->deadline_ns = op->deadline_ns;
	if (!p->building)
		pipeline_build_from(p, op);
}

/* Is any of those that are over on its way? Then their memory is the device's until the connection is broken. */
static bool is_under_way(const struct pipeline *p, uint64_t now_ns)
{
	for (const struct operation *op = p->first; op; op = op->following)
		if (op->timed && op->deadline_ns <= now_ns && !op->is_short && op->outstanding)
			return true;
	return false;
}

static uint64_t next_deadline(const struct pipeline *p)
{
	uint64_t next = PIPELINE_FOREVER;

	for (const struct operation *op = p->first; op; op = op->following)
		if (op->timed && !op->status && op->deadline_ns < next)
			next = op->deadline_ns;
	return next;
}

/* All that is on its way ends, done or not. */
static void interrupt(struct pipeline *p)
{
	const struct errinfo errinfo = {
		"the connection was given up, as the time of an operation was over"
	};

	p->broke = reasons_add(p->reasons, &errinfo);
	endpoint_break(p->ep);
	pipeline_flush(p);
	if (p->failure.op) /* the connection did not break on it */
		p->failure.op->failures--;
	pipeline_detach(p);
}

/* Those at the head that have failed leave, although there is no connection. */
static void drop_failed(struct pipeline *p)
{
	while (p->first && p->first == p->building && p->first->status && !p->first->outstanding) {
		pipeline_give_up(p, p->first);
		pipeline_build_from(p, p->first->following);
		pipeline_complete(p);
	}
}

bool pipeline_expire(struct pipeline *p, uint64_t now_ns, struct errinfo *errinfo)
{
	struct errinfo late;
	bool any = false;

	if (now_ns < p->deadline_ns)
		return false;
	if (p->ep && is_under_way(p, now_ns))
		interrupt(p);
	errinfo_fill(&late, "it had not completed when its time was over%s%.400s",
		errinfo->text[0] ? ": " : "", errinfo->text);
	for (struct operation *op = p->first; op; op = op->following) {
		if (!op->timed || op->deadline_ns > now_ns)
			continue;
		if (!op->status)
			operation_fail(op, -ETIMEDOUT, reasons_add(p->reasons, &late));
		any = true;
	}
	/* Not if the time was that of one which has completed meanwhile. */
	if (any)
		*errinfo = late;
	p->deadline_ns = next_deadline(p);
	drop_failed(p);
	return any;
}

/* ---- posting ---- */

/* The device may carry them out from now on. */
static void note_once(struct pipeline *p)
{
	for (uint64_t i = p->posted; i < p->built; i++) {
		struct operation *op = p->works[i % PIPELINE_DEPTH].op;

		op->uncertain = operation_is_once(op);
	}
	p->once = 0;
}

int pipeline_post(struct pipeline *p, struct errinfo *errinfo)
{
	struct ibv_send_wr *first = &p->works[p->posted % PIPELINE_DEPTH].wr, *bad = NULL;
	struct ibv_send_wr *last = &p->works[(p->built - 1) % PIPELINE_DEPTH].wr,
			   *next = last->next;
	const uint64_t share = (p->built - p->done) / SIGNALS_UNDER_WAY, every = share ? share : 1;
	int rc;

	if (p->posted == p->built)
		return 0;
	for (uint64_t i = p->posted + every - 1; i < p->built; i += every)
		p->works[i % PIPELINE_DEPTH].wr.send_flags |= IBV_SEND_SIGNALED;
	last->send_flags |= IBV_SEND_SIGNALED;
	last->next = NULL;
	rc = endpoint_post(p->ep, first, &bad, errinfo);
	last->next = next;
	traffic_add(&p->traffic.doorbells, 1);
	if (rc) /* what was not posted does not exist */
		drop_built(p, bad->wr_id);
	if (p->once)
		note_once(p);
	p->posted = p->built;
	p->short_end = 0;
	return rc;
}

/* ---- completing ---- */

/* A bounced read: what has come goes where the caller wants it. */
static void hand_out(const struct work *work)
{
	if (work->op->is_short)
		memcpy(work->op->one_local.iov_base, work->bounced, work->bytes);
	else
		plan_copy(work->at, work->bounced, work->bytes, true);
}

/* The oldest has succeeded. */
static void finish_one(struct pipeline *p)
{
	const struct work *work = &p->works[p->done++ % PIPELINE_DEPTH];
	struct operation *op = work->op;

	if (!operation_is_copy(op)) {
		memcpy(&op->result, work->bounced, sizeof(uint64_t));
		if (op->old)
			*op->old = op->result;
	} else if (work->bounced && op->kind == OPERATION_READ) {
		hand_out(work);
	}
	if (op->is_short)
		operation_plan_again(op);
	if (operation_is_copy(op) && work->bytes == op->left.left)
		op->left.left = 0; /* the end: nobody asks where that is */
	else if (operation_is_copy(op))
		plan_advance(&op->left, work->bytes);
	if (--op->outstanding == 0)
		op->uncertain = false;
	/* Not by those that have none: the ring may have begun anew since they were built. */
	if (work->bounced)
		bounce_release(&p->bounce, work->bounce_head);
}

/* All up to a number, which are of short operations that are next to complete. */
static void finish_short(struct pipeline *p, uint64_t end)
{
	struct operation *last = p->works[(end - 1) % PIPELINE_DEPTH].op;

	end_operations(p, end - p->done);
	p->done = end;
	p->first = last->following;
	if (!p->first)
		p->last = NULL;
}

/* All up to a number have succeeded, in order. */
static void finish(struct pipeline *p, uint64_t end)
{
	if (p->done < p->long_end) {
		while (p->done < end && p->done < p->long_end)
			finish_one(p);
		pipeline_complete(p);
	}
	if (p->done < end)
		finish_short(p, end);
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
	if (work->op->is_short)
		operation_plan_again(work->op);
	work->op->failures++;
	if (!refused(wc->status))
		return;
	for (uint64_t i = wc->wr_id; i < p->posted; i++)
		p->works[i % PIPELINE_DEPTH].op->uncertain = false;
}

static bool expects_data(const struct pipeline *p, uint64_t number)
{
	const struct operation *op = p->works[number % PIPELINE_DEPTH].op;

	return number >= p->done && op->kind != OPERATION_WRITE;
}

/*
 * Where endpoint_is_ready() is to be asked: which work request failed? The one that is said to have succeeded, if the
 * queue pair is in error since; the one before the first that was flushed, which needed no completion of its own.
 */
static void doubt(const struct pipeline *p, struct ibv_wc *wc)
{
	if (wc->status == IBV_WC_SUCCESS) {
		if (expects_data(p, wc->wr_id) && !endpoint_is_ready(p->ep))
			wc->status = IBV_WC_WR_FLUSH_ERR;
	} else if (wc->status == IBV_WC_WR_FLUSH_ERR && wc->wr_id > p->done &&
		   expects_data(p, wc->wr_id - 1)) {
		wc->wr_id--;
	}
}

/* 0, or -ECONNRESET when the last of those that failed has come. */
static int take(struct pipeline *p, struct ibv_wc *wc, int n)
{
	for (int i = 0; i < n; i++) {
		const uint64_t end = wc[i].wr_id + 1;

		if (p->apart && !p->failure.op)
			doubt(p, &wc[i]);
		if (!p->failure.op && wc[i].status == IBV_WC_SUCCESS) {
			finish(p, end);
			continue;
		}
		if (!p->failure.op)
			fail(p, &wc[i]);
		p->done = end;
	}
	return p->failure.op && pipeline_is_idle(p) ? -ECONNRESET : 0;
}

/* None has come: is the oldest that is on its way overdue? Then the connection is over: -ECONNRESET. */
static int judge_silence(struct pipeline *p, uint64_t now_ns)
{
	if (pipeline_is_idle(p))
		return 0;
	if (p->waited_for != p->done + 1) {
		p->waited_for = p->done + 1;
		p->waited_since_ns = now_ns;
	}
	if (now_ns < p->waited_since_ns + PIPELINE_PROGRESS_NS)
		return 0;
	endpoint_break(p->ep);
	return pipeline_wait(p, PIPELINE_FOREVER, false);
}

int pipeline_poll(struct pipeline *p, uint64_t now_ns)
{
	struct ibv_wc wc[REAP_BATCH];
	int n, all = 0;

	do {
		n = endpoint_poll(p->ep, wc, REAP_BATCH);
		if (n < 0 || (n > 0 && take(p, wc, n)))
			return -ECONNRESET;
		all += n;
	} while (n == REAP_BATCH || (n > 0 && p->failure.op));
	if (all == 0)
		return judge_silence(p, now_ns);
	/* All will be flushed: that does not take long. */
	return p->failure.op ? pipeline_wait(p, PIPELINE_FOREVER, false) : 0;
}

int pipeline_wait(struct pipeline *p, uint64_t deadline_ns, bool interruptible)
{
	const int max = p->posted - p->done == 1 ? 1 : REAP_BATCH;
	const bool ends = interruptible && !endpoint_broken(p->ep);
	struct ibv_wc wc[REAP_BATCH];

	do {
		int n = (deadline_ns == PIPELINE_FOREVER && !ends) || p->failure.op
				? endpoint_reap(p->ep, wc, max, PIPELINE_PROGRESS_NS)
				: endpoint_wait(
					  p->ep, wc, max, deadline_ns, PIPELINE_LOOK_NS, ends);

		/* Also after a signal: there may be one every few milliseconds. */
		if (n == 0 || n == -EINTR)
			return judge_silence(p, clock_boot_ns()) ? -ECONNRESET : n;
		if (n < 0 || take(p, wc, n))
			return -ECONNRESET;
	} while (p->failure.op);
	return 0;
}

void pipeline_flush(struct pipeline *p)
{
	while (!p->flushed && !pipeline_is_idle(p))
		p->flushed = pipeline_wait(p, PIPELINE_FOREVER, false) != 0;
}
