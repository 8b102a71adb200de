/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shortest way of a short copy: one piece of at most 64 KiB, where nothing has to be looked up, asked for or
 * waited for first. It takes no lock, allocates nothing and makes no system call. Everything else takes the long way
 * (client/data/progress.h), which begins anew.
 *
 * Inline, so that the public calls need not keep anything for a second way before it is known to be needed.
 * The channel's thread.
 */
#ifndef RMEM_CLIENT_DATA_FASTPATH_H
#define RMEM_CLIENT_DATA_FASTPATH_H

#include <string.h>

#include "client/base/poison.h"
#include "client/data/channel.h"
#include "common/clock.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ... of an object. Not for data that a record has to go in front of. */
__attribute__((noinline)) const struct near_key *fastpath_object_key(
	struct channel *ch, enum operation_kind kind, uint64_t remote, size_t bytes);

/* The key, where nothing is to be looked up, asked for or waited for first, but for the lease; else NULL. */
static inline const struct near_key *fastpath_key(struct channel *ch, enum operation_kind kind,
	const void *local, uint64_t remote, size_t bytes)
{
	const struct near_key *key;

	if (bytes - 1 >= BOUNCE_PIECE_MAX || !local ||
		atomic_load_explicit(&ch->vitals->epoch, memory_order_acquire) != ch->epoch ||
		poison_find(local, bytes))
		return NULL;
	key = key_cache_find(&ch->keys, remote, bytes);
	if (unlikely(!key))
		return fastpath_object_key(ch, kind, remote, bytes);
	return key;
}

static inline bool fastpath_is_leased(const struct channel *ch, uint64_t now_ns)
{
	return now_ns < atomic_load_explicit(&ch->vitals->lease_ns, memory_order_relaxed);
}

/* Make the registered buffer that holds it the near one. false: there is none. */
__attribute__((noinline)) bool fastpath_search_buffer(
	struct channel *ch, const void *local, size_t bytes);

/* Is it in a registered buffer, which is then the near one, and mostly was? */
static inline bool fastpath_find_buffer(struct channel *ch, const void *local, size_t bytes)
{
	const struct buffer *near = &ch->fastpath.near;
	size_t end;

	if (likely(!__builtin_add_overflow((uintptr_t)local - near->start, bytes, &end) &&
		    end <= near->bytes))
		return true;
	return fastpath_search_buffer(ch, local, bytes);
}

/* Without a copy, if it goes: then sge is complete. */
static inline enum way fastpath_choose_way(struct channel *ch, enum operation_kind kind,
	const void *local, size_t bytes, struct ibv_sge *sge)
{
	sge->addr = (uintptr_t)local;
	sge->length = (uint32_t)bytes;
	if (kind == OPERATION_WRITE && bytes <= endpoint_inline_bytes(ch->pipeline.ep))
		return WAY_INLINE;
	if (!fastpath_find_buffer(ch, local, bytes))
		return WAY_BOUNCED;
	sge->lkey = ch->fastpath.near.lkey;
	return WAY_IN_PLACE;
}

static inline void fastpath_bounce(const struct pipeline *p, enum operation_kind kind,
	struct ibv_sge *sge, uint8_t *memory, const void *local)
{
	if (kind == OPERATION_WRITE)
		memcpy(memory, local, sge->length);
	sge->addr = (uintptr_t)memory;
	sge->lkey = p->bounce_mr->lkey;
}

static inline void fastpath_aim(struct ibv_send_wr *wr, enum operation_kind kind, enum way way,
	unsigned flags, uint64_t remote, uint32_t rkey)
{
	wr->opcode = kind == OPERATION_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
	wr->send_flags = flags | (way == WAY_INLINE ? IBV_SEND_INLINE : 0);
	wr->wr.rdma.remote_addr = remote;
	wr->wr.rdma.rkey = rkey;
}

/* The copy failed in the block with this serial, error is what ibv_post_send() said, or wc tells: the long way comes
 * back. Returns false. */
__attribute__((cold, noinline)) bool fastpath_broke(struct channel *ch, enum operation_kind kind,
	uint64_t serial, const struct ibv_wc *wc, uint64_t began_ns, int error);

/* Copy, and wait for it. false: it was not done this way. */
static inline __attribute__((always_inline)) bool fastpath_copy(
	struct channel *ch, enum operation_kind kind, void *local, uint64_t remote, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;
	struct ibv_send_wr *wr = &ch->fastpath.wr, *bad;
	struct ibv_sge *sge = &ch->fastpath.sge;
	const struct endpoint_port *port;
	struct ibv_wc wc;
	const struct near_key *key;
	enum way way;
	uint64_t now;
	int error;

	if (unlikely(p->first || !channel_is_connected(ch)))
		return false;
	key = fastpath_key(ch, kind, local, remote, bytes);
	if (unlikely(!key))
		return false;
	now = clock_boot_ns();
	if (unlikely(!fastpath_is_leased(ch, now)))
		return false;
	port = endpoint_port(p->ep);
	way = fastpath_choose_way(ch, kind, local, bytes, sge);
	if (way == WAY_BOUNCED)
		fastpath_bounce(p, kind, sge, p->bounce.memory, local);
	fastpath_aim(wr, kind, way, IBV_SEND_SIGNALED, remote, key->rkey);
	wc.status = IBV_WC_GENERAL_ERR; /* what is said if none comes */
	wc.vendor_err = 0;
	grace_add(&p->turn.begun, 1);
	error = ibv_post_send(port->qp, wr, &bad);
	if (unlikely(error))
		return fastpath_broke(ch, kind, key->serial, &wc, now, error);
	pipeline_count(p, way, bytes); /* while the device works */
	traffic_add(&p->traffic.doorbells, 1);
	if (ibv_poll_cq(port->cq, 1, &wc) < 1)
		(void)endpoint_reap(p->ep, &wc, 1, PIPELINE_PROGRESS_NS);
	if (unlikely(p->apart) && kind == OPERATION_READ && !endpoint_is_ready(p->ep))
		wc.status = IBV_WC_WR_FLUSH_ERR;
	if (unlikely(wc.status != IBV_WC_SUCCESS))
		return fastpath_broke(ch, kind, key->serial, &wc, now, 0);
	grace_add(&p->turn.ended, 1);
	if (way == WAY_BOUNCED && kind == OPERATION_READ)
		memcpy(local, p->bounce.memory, bytes);
	return true;
}

/* May more be built, from now on up to short_end? The lease is asked once for those that leave together. */
__attribute__((noinline)) bool fastpath_make_room(struct channel *ch);

/* The bytes go through bounce memory. false: there is none free. */
__attribute__((noinline)) bool fastpath_take_bounce(
	struct channel *ch, struct work *work, enum operation_kind kind, void *local, size_t bytes);

/* How its bytes travel. A constant in each branch makes each count one instruction sequence without an index. */
static inline __attribute__((always_inline)) bool fastpath_place(
	struct channel *ch, struct work *work, enum operation_kind kind, void *local, size_t bytes)
{
	struct pipeline *p = &ch->pipeline;
	struct ibv_sge *sge = work->sges;

	sge->addr = (uintptr_t)local;
	sge->length = (uint32_t)bytes;
	if (kind == OPERATION_WRITE && bytes <= endpoint_inline_bytes(p->ep)) {
		pipeline_count(p, WAY_INLINE, bytes);
		work->way = WAY_INLINE;
	} else if (likely(fastpath_find_buffer(ch, local, bytes))) {
		pipeline_count(p, WAY_IN_PLACE, bytes);
		work->way = WAY_IN_PLACE;
		sge->lkey = ch->fastpath.near.lkey;
	} else {
		return fastpath_take_bounce(ch, work, kind, local, bytes);
	}
	work->bounced = NULL;
	return true;
}

/* Start a copy that op, which has no fence, stands for. false: it was not started this way. */
static inline __attribute__((always_inline)) bool fastpath_start(struct channel *ch,
	struct operation *op, enum operation_kind kind, void *local, uint64_t remote, size_t bytes,
	uint64_t tag, bool silent)
{
	const struct near_key *key = fastpath_key(ch, kind, local, remote, bytes);
	struct pipeline *p = &ch->pipeline;
	struct work *work;

	if (unlikely(!key || (p->built >= p->short_end && !fastpath_make_room(ch))))
		return false;
	work = pipeline_next_work(p);
	if (unlikely(!fastpath_place(ch, work, kind, local, bytes)))
		return false;
	work->op = op;
	work->bytes = bytes;
	work->wr.wr_id = p->built++;
	work->wr.num_sge = 1;
	fastpath_aim(&work->wr, kind, work->way, 0, remote, key->rkey);
	operation_set_short(op, kind, local, remote, bytes, key->serial, tag, silent);
	pipeline_append(p, op);
	return true;
}

#endif
