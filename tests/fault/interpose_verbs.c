/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/fault/interpose.h"

/* Macros over functions of the same name. */
#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_query_port

#define CONTEXTS 64
#define QUEUE_PAIRS 1024

/* ---- calls that are inline functions ---- */

static struct hooked {
	struct ibv_context *ctx;
	struct ibv_context_ops ops; /* the device's own */
} hooked[CONTEXTS];
static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct ibv_context_ops *ops_of(const struct ibv_context *ctx)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (hooked[i].ctx == ctx)
			return &hooked[i].ops;
	abort();
}

static void fail_queue_pair(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	(void)REAL(ibv_modify_qp)(qp, &attr, IBV_QP_STATE);
}

/* Post the first half of a list; *bad is the first of the rest. */
static int post_half(struct ibv_qp *qp, struct ibv_send_wr *list, struct ibv_send_wr **bad)
{
	struct ibv_send_wr *last = list, *rest;
	int n = 0, rc;

	for (const struct ibv_send_wr *wr = list; wr; wr = wr->next)
		n++;
	for (int i = 1; i < n / 2; i++)
		last = last->next;
	rest = last->next;
	last->next = NULL;
	rc = ops_of(qp->context)->post_send(qp, list, bad);
	last->next = rest;
	if (rc)
		return rc;
	*bad = rest;
	return ENOMEM;
}

static int hook_post_send(struct ibv_qp *qp, struct ibv_send_wr *list, struct ibv_send_wr **bad)
{
	if (fault_hit(FAULT_ibv_post_send, ORIGIN)) {
		*bad = list;
		return ENOMEM;
	}
	if (list && list->next && fault_hit(FAULT_post_send_part, ORIGIN))
		return post_half(qp, list, bad);
	if (fault_hit(FAULT_qp_error, ORIGIN))
		fail_queue_pair(qp);
	return ops_of(qp->context)->post_send(qp, list, bad);
}

static int hook_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *list, struct ibv_recv_wr **bad)
{
	if (fault_hit(FAULT_ibv_post_recv, ORIGIN)) {
		*bad = list;
		return ENOMEM;
	}
	return ops_of(qp->context)->post_recv(qp, list, bad);
}

static struct ibv_qp *queue_pairs[QUEUE_PAIRS];

void fault_remember(struct ibv_qp *qp)
{
	queue_pairs[qp->qp_num % QUEUE_PAIRS] = qp;
}

void fault_forget(struct ibv_qp *qp)
{
	if (qp && queue_pairs[qp->qp_num % QUEUE_PAIRS] == qp)
		queue_pairs[qp->qp_num % QUEUE_PAIRS] = NULL;
}

static int hook_poll_cq(struct ibv_cq *cq, int max, struct ibv_wc *wc)
{
	int n;

	if (fault_hit(FAULT_ibv_poll_cq, ORIGIN))
		return -1;
	n = ops_of(cq->context)->poll_cq(cq, max, wc);
	for (int i = 0; i < n; i++) {
		struct ibv_qp *qp = queue_pairs[wc[i].qp_num % QUEUE_PAIRS];

		if (wc[i].status != IBV_WC_SUCCESS || !fault_hit(FAULT_completion, ORIGIN))
			continue;
		wc[i].status = IBV_WC_RETRY_EXC_ERR;
		if (qp && qp->qp_num == wc[i].qp_num)
			fail_queue_pair(qp);
	}
	return n;
}

static int hook_req_notify_cq(struct ibv_cq *cq, int solicited)
{
	return CALL(ibv_req_notify_cq, EIO, ops_of(cq->context)->req_notify_cq(cq, solicited));
}

static struct ibv_mw *hook_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	return MAKE(ibv_alloc_mw, ENOMEM, window, ops_of(pd->context)->alloc_mw(pd, type));
}

static int hook_dealloc_mw(struct ibv_mw *mw)
{
	return END(ibv_dealloc_mw, EBUSY, window, mw, ops_of(mw->context)->dealloc_mw(mw));
}

static struct hooked *slot_for(const struct ibv_context *ctx)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (hooked[i].ctx == ctx)
			return &hooked[i];
	for (int i = 0; i < CONTEXTS; i++)
		if (!hooked[i].ctx)
			return &hooked[i];
	abort();
}

void fault_hook(struct ibv_context *ctx)
{
	struct hooked *h;

	if (!ctx)
		return;
	pthread_mutex_lock(&hook_lock);
	if (ctx->ops.post_send != hook_post_send) {
		h = slot_for(ctx);
		h->ops = ctx->ops;
		h->ctx = ctx;
		ctx->ops.post_send = hook_post_send;
		ctx->ops.post_recv = hook_post_recv;
		ctx->ops.poll_cq = hook_poll_cq;
		ctx->ops.req_notify_cq = hook_req_notify_cq;
		ctx->ops.alloc_mw = hook_alloc_mw;
		ctx->ops.dealloc_mw = hook_dealloc_mw;
	}
	pthread_mutex_unlock(&hook_lock);
}

/* ---- asking ---- */

EXPORT struct ibv_device **ibv_get_device_list(int *count)
{
	return MAKE(ibv_get_device_list, ENOMEM, devices, REAL(ibv_get_device_list)(count));
}

EXPORT void ibv_free_device_list(struct ibv_device **list)
{
	fault_destroyed(FAULT_OBJECT_devices, list);
	REAL(ibv_free_device_list)(list);
}

EXPORT int ibv_query_device(struct ibv_context *ctx, struct ibv_device_attr *attr)
{
	return CALL(ibv_query_device, ENOMEM, REAL(ibv_query_device)(ctx, attr));
}

EXPORT int ibv_query_port(struct ibv_context *ctx, uint8_t port, struct _compat_ibv_port_attr *attr)
{
	return CALL(ibv_query_port, ENOMEM, REAL(ibv_query_port)(ctx, port, attr));
}

EXPORT int _ibv_query_gid_ex(struct ibv_context *ctx, uint32_t port, uint32_t index,
	struct ibv_gid_entry *entry, uint32_t flags, size_t size)
{
	return CALL(ibv_query_gid, ENOMEM,
		REAL(_ibv_query_gid_ex)(ctx, port, index, entry, flags, size));
}

/* ---- making and ending ---- */

EXPORT struct ibv_pd *ibv_alloc_pd(struct ibv_context *ctx)
{
	struct ibv_pd *pd = MAKE(ibv_alloc_pd, ENOMEM, domain, REAL(ibv_alloc_pd)(ctx));

	if (pd && fault_is_ours(ORIGIN))
		fault_hook(ctx);
	return pd;
}

EXPORT int ibv_dealloc_pd(struct ibv_pd *pd)
{
	return END(ibv_dealloc_pd, EBUSY, domain, pd, REAL(ibv_dealloc_pd)(pd));
}

EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	return MAKE(ibv_reg_mr, ENOMEM, region, REAL(ibv_reg_mr)(pd, addr, len, access));
}

EXPORT struct ibv_mr *ibv_reg_mr_iova(
	struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, int access)
{
	return MAKE(ibv_reg_mr, ENOMEM, region, REAL(ibv_reg_mr_iova)(pd, addr, len, iova, access));
}

EXPORT struct ibv_mr *ibv_reg_mr_iova2(
	struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, unsigned access)
{
	return MAKE(
		ibv_reg_mr, ENOMEM, region, REAL(ibv_reg_mr_iova2)(pd, addr, len, iova, access));
}

EXPORT int ibv_dereg_mr(struct ibv_mr *mr)
{
	return END(ibv_dereg_mr, EBUSY, region, mr, REAL(ibv_dereg_mr)(mr));
}

EXPORT struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *ctx)
{
	return MAKE(
		ibv_create_comp_channel, EMFILE, comp_channel, REAL(ibv_create_comp_channel)(ctx));
}

EXPORT int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	return END(ibv_destroy_comp_channel, EBUSY, comp_channel, channel,
		REAL(ibv_destroy_comp_channel)(channel));
}

EXPORT struct ibv_cq *ibv_create_cq(struct ibv_context *ctx, int depth, void *user,
	struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = MAKE(
		ibv_create_cq, ENOMEM, cq, REAL(ibv_create_cq)(ctx, depth, user, channel, vector));

	if (cq && fault_is_ours(ORIGIN))
		fault_hook(ctx);
	return cq;
}

EXPORT int ibv_destroy_cq(struct ibv_cq *cq)
{
	return END(ibv_destroy_cq, EBUSY, cq, cq, REAL(ibv_destroy_cq)(cq));
}

EXPORT int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **user)
{
	int rc = CALL(
		ibv_get_cq_event, fault_refuse(EIO), REAL(ibv_get_cq_event)(channel, cq, user));

	if (rc == 0 && fault_is_ours(ORIGIN))
		fault_unacknowledged(1);
	return rc;
}

EXPORT void ibv_ack_cq_events(struct ibv_cq *cq, unsigned n)
{
	if (fault_is_ours(ORIGIN))
		fault_unacknowledged(-(int)n);
	REAL(ibv_ack_cq_events)(cq, n);
}

EXPORT struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *qp = MAKE(ibv_create_qp, ENOMEM, qp, REAL(ibv_create_qp)(pd, attr));

	if (qp)
		fault_remember(qp);
	return qp;
}

EXPORT int ibv_destroy_qp(struct ibv_qp *qp)
{
	return END(ibv_destroy_qp, EBUSY, qp, qp, (fault_forget(qp), REAL(ibv_destroy_qp)(qp)));
}

EXPORT int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	return CALL(ibv_modify_qp, EINVAL, REAL(ibv_modify_qp)(qp, attr, mask));
}
