/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/shortcut.h"

#include <string.h>

#include "client/call.h"
#include "client/data.h"
#include "client/explain.h"
#include "client/poison.h"
#include "common/clock.h"
#include "common/log.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Nothing is to be looked up, asked for or waited for first; but for the lease. */
static inline bool is_clear(
	struct channel *ch, const void *local, uint64_t remote, size_t bytes, uint32_t *rkey)
{
	const struct pipeline *p = &ch->pipeline;

	return bytes - 1 < BOUNCE_PIECE_MAX && local && p->ep && !endpoint_broken(p->ep) &&
	       atomic_load_explicit(&ch->vitals->epoch, memory_order_acquire) == ch->epoch &&
	       keys_find(&ch->keys, remote, bytes, rkey) && !poison_find(local, bytes);
}

static inline bool is_leased(const struct channel *ch, uint64_t now_ns)
{
	return now_ns < atomic_load_explicit(&ch->vitals->lease_ns, memory_order_relaxed);
}

/* The registered buffer that holds it, which is mostly the one of the last time. */
static inline const struct buffer *find_buffer(struct channel *ch, const struct ibv_sge *sge)
{
	const struct buffer *b = ch->shortcut.near;
	size_t at = b ? sge->addr - b->start : 0;

	if (likely(b && at < b->bytes && sge->length <= b->bytes - at))
		return b;
	b = ch->buffers.count ? buffers_find_range(&ch->buffers, sge->addr, sge->length) : NULL;
	if (!b || !b->mr)
		return NULL;
	ch->shortcut.near = b;
	return b;
}

/* Without a copy, if it goes: then sge is complete. */
static inline enum way choose_way(struct channel *ch, enum operation_kind kind, struct ibv_sge *sge)
{
	const struct buffer *b;

	if (kind == OPERATION_WRITE && sge->length <= endpoint_inline_bytes(ch->pipeline.ep))
		return WAY_INLINE;
	b = find_buffer(ch, sge);
	if (!b)
		return WAY_BOUNCED;
	sge->lkey = b->lkey;
	return WAY_IN_PLACE;
}

static inline void bounce(const struct pipeline *p, enum operation_kind kind, struct ibv_sge *sge,
	uint8_t *memory, const void *local)
{
	if (kind == OPERATION_WRITE)
		memcpy(memory, local, sge->length);
	sge->addr = (uintptr_t)memory;
	sge->lkey = p->bounce_mr->lkey;
}

static inline void aim(struct ibv_send_wr *wr, enum operation_kind kind, enum way way,
	unsigned flags, uint64_t remote, uint32_t rkey)
{
	wr->opcode = kind == OPERATION_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
	wr->send_flags = flags | (way == WAY_INLINE ? IBV_SEND_INLINE : 0);
	wr->wr.rdma.remote_addr = remote;
	wr->wr.rdma.rkey = rkey;
}

static inline void count(struct traffic *t, enum way way, size_t bytes)
{
	traffic_add(&t->requests[way], 1);
	traffic_add(&t->bytes[way], bytes);
	traffic_add(&t->doorbells, 1);
}

/* error: of ibv_post_send(). */
static __attribute__((cold, noinline)) bool broke(struct channel *ch, enum operation_kind kind,
	const struct ibv_send_wr *wr, const struct ibv_wc *wc, uint64_t began_ns, int error)
{
	struct operation op = { .kind = kind };
	const struct failure f = {
		.op = &op,
		.remote = wr->wr.rdma.remote_addr,
		.bytes = wr->sg_list->length,
		.status = wc->status,
		.vendor_err = wc->vendor_err,
	};

	endpoint_break(ch->pipeline.ep);
	ch->began_ns = began_ns;
	ch->began_as_of = ch->as_of;
	if (endpoint_is_refusal(error))
		(void)endpoint_explain_refusal(&ch->shortcut_failure);
	else
		explain_failure(
			&f, ch->session, endpoint_peer(ch->pipeline.ep), &ch->shortcut_failure);
	log_info("%s", ch->shortcut_failure.text);
	return false;
}

static inline __attribute__((always_inline)) bool copy(
	struct channel *ch, enum operation_kind kind, void *local, uint64_t remote, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;
	struct ibv_send_wr *wr = &ch->shortcut.wr, *bad;
	struct ibv_sge *sge = &ch->shortcut.sge;
	const struct endpoint_port *port;
	struct ibv_wc wc;
	uint32_t rkey;
	enum way way;
	uint64_t now;
	int error;

	if (unlikely(p->first || !is_clear(ch, local, remote, bytes, &rkey)))
		return false;
	now = clock_boot_ns();
	if (unlikely(!is_leased(ch, now)))
		return false;
	port = endpoint_port(p->ep);
	sge->addr = (uintptr_t)local;
	sge->length = (uint32_t)bytes;
	way = choose_way(ch, kind, sge);
	if (way == WAY_BOUNCED)
		bounce(p, kind, sge, p->bounce.memory, local);
	aim(wr, kind, way, IBV_SEND_SIGNALED, remote, rkey);
	wc.status = IBV_WC_GENERAL_ERR; /* what is said if none comes */
	wc.vendor_err = 0;
	error = ibv_post_send(port->qp, wr, &bad);
	if (unlikely(error))
		return broke(ch, kind, wr, &wc, now, error);
	count(&p->traffic, way, bytes); /* while the device works */
	if (ibv_poll_cq(port->cq, 1, &wc) < 1)
		(void)endpoint_reap(p->ep, &wc, 1, PIPELINE_PROGRESS_NS);
	if (unlikely(p->apart) && kind == OPERATION_READ && !endpoint_is_ready(p->ep))
		wc.status = IBV_WC_WR_FLUSH_ERR;
	if (unlikely(wc.status != IBV_WC_SUCCESS))
		return broke(ch, kind, wr, &wc, now, 0);
	if (way == WAY_BOUNCED && kind == OPERATION_READ)
		memcpy(local, p->bounce.memory, bytes);
	return true;
}

/*
 * The public calls themselves, so that nothing has to be kept for a second way before it is known to be needed.
 */
RMEM_API int rmem_read(struct rmem *rm, void *dst, rmem_addr_t src, size_t bytes)
{
	struct channel *ch = likely(rm) ? seats_mine(&rm->seats) : NULL;

	if (likely(ch && copy(ch, OPERATION_READ, dst, src, bytes)))
		return 0;
	return data_copy(rm, OPERATION_READ, dst, src, bytes, "rmem_read");
}

RMEM_API int rmem_write(struct rmem *rm, rmem_addr_t dst, const void *src, size_t bytes)
{
	struct channel *ch = likely(rm) ? seats_mine(&rm->seats) : NULL;
	void *local = (void *)(uintptr_t)src; /* it is only read */

	if (likely(ch && copy(ch, OPERATION_WRITE, local, dst, bytes)))
		return 0;
	return data_copy(rm, OPERATION_WRITE, local, dst, bytes, "rmem_write");
}

/* The lease is looked at for the first of those that are posted together: they leave together. */
static inline bool may_be_built(const struct channel *ch)
{
	const struct pipeline *p = &ch->pipeline;

	return !p->building && !p->apart && p->built - p->done < p->depth &&
	       (p->built != p->posted || is_leased(ch, clock_boot_ns()));
}

bool shortcut_start(
	struct channel *ch, struct operation *op, void *local, uint64_t remote, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;
	struct work *work = &p->works[p->built % PIPELINE_DEPTH];
	uint32_t rkey;

	if (unlikely(!is_clear(ch, local, remote, bytes, &rkey) || !may_be_built(ch)))
		return false;
	work->sges[0].addr = (uintptr_t)local;
	work->sges[0].length = (uint32_t)bytes;
	work->way = choose_way(ch, op->kind, work->sges);
	work->bounced = NULL;
	if (work->way == WAY_BOUNCED) {
		work->bounced = bounce_take(&p->bounce, bytes);
		if (!work->bounced)
			return false;
		bounce(p, op->kind, work->sges, work->bounced, local);
	}
	work->op = op;
	work->bytes = bytes;
	work->bounce_head = p->bounce.head;
	work->wr.wr_id = p->built++;
	work->wr.sg_list = work->sges;
	work->wr.num_sge = 1;
	aim(&work->wr, op->kind, work->way, op->fence || p->fence ? IBV_SEND_FENCE : 0, remote,
		rkey);
	p->fence = false;
	operation_set_built(op, local, remote, bytes, ch->as_of);
	pipeline_add_built(p, op);
	return true;
}
