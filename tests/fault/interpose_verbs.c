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

static void *refuse(int error)
{
	errno = error;
	return NULL;
}

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
	if (fault_hit(FAULT_ibv_req_notify_cq, ORIGIN))
		return EIO;
	return ops_of(cq->context)->req_notify_cq(cq, solicited);
}

static struct ibv_mw *hook_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	struct ibv_mw *mw;

	if (fault_hit(FAULT_ibv_alloc_mw, ORIGIN))
		return refuse(ENOMEM);
	mw = ops_of(pd->context)->alloc_mw(pd, type);
	fault_created(FAULT_OBJECT_window, mw, ORIGIN);
	return mw;
}

static int hook_dealloc_mw(struct ibv_mw *mw)
{
	int rc;

	if (fault_hit_object(FAULT_ibv_dealloc_mw, ORIGIN, mw))
		return EBUSY;
	rc = ops_of(mw->context)->dealloc_mw(mw);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_window, mw);
	return rc;
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
	struct ibv_device **list;

	if (fault_hit(FAULT_ibv_get_device_list, ORIGIN))
		return refuse(ENOMEM);
	list = REAL(ibv_get_device_list)(count);
	fault_created(FAULT_OBJECT_devices, list, ORIGIN);
	return list;
}

EXPORT void ibv_free_device_list(struct ibv_device **list)
{
	fault_destroyed(FAULT_OBJECT_devices, list);
	REAL(ibv_free_device_list)(list);
}

EXPORT int ibv_query_device(struct ibv_context *ctx, struct ibv_device_attr *attr)
{
	if (fault_hit(FAULT_ibv_query_device, ORIGIN))
		return ENOMEM;
	return REAL(ibv_query_device)(ctx, attr);
}

EXPORT int ibv_query_port(struct ibv_context *ctx, uint8_t port, struct _compat_ibv_port_attr *attr)
{
	if (fault_hit(FAULT_ibv_query_port, ORIGIN))
		return ENOMEM;
	return REAL(ibv_query_port)(ctx, port, attr);
}

EXPORT int _ibv_query_gid_ex(struct ibv_context *ctx, uint32_t port, uint32_t index,
	struct ibv_gid_entry *entry, uint32_t flags, size_t size)
{
	if (fault_hit(FAULT_ibv_query_gid, ORIGIN))
		return ENOMEM;
	return REAL(_ibv_query_gid_ex)(ctx, port, index, entry, flags, size);
}

/* ---- making and ending ---- */

EXPORT struct ibv_pd *ibv_alloc_pd(struct ibv_context *ctx)
{
	struct ibv_pd *pd;

	if (fault_hit(FAULT_ibv_alloc_pd, ORIGIN))
		return refuse(ENOMEM);
	pd = REAL(ibv_alloc_pd)(ctx);
	fault_created(FAULT_OBJECT_domain, pd, ORIGIN);
	if (fault_is_ours(ORIGIN))
		fault_hook(ctx);
	return pd;
}

EXPORT int ibv_dealloc_pd(struct ibv_pd *pd)
{
	int rc;

	if (fault_hit(FAULT_ibv_dealloc_pd, ORIGIN))
		return EBUSY;
	rc = REAL(ibv_dealloc_pd)(pd);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_domain, pd);
	return rc;
}

EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	struct ibv_mr *mr;

	if (fault_hit(FAULT_ibv_reg_mr, ORIGIN))
		return refuse(ENOMEM);
	mr = REAL(ibv_reg_mr)(pd, addr, len, access);
	fault_created(FAULT_OBJECT_region, mr, ORIGIN);
	return mr;
}

EXPORT struct ibv_mr *ibv_reg_mr_iova(
	struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, int access)
{
	struct ibv_mr *mr;

	if (fault_hit(FAULT_ibv_reg_mr, ORIGIN))
		return refuse(ENOMEM);
	mr = REAL(ibv_reg_mr_iova)(pd, addr, len, iova, access);
	fault_created(FAULT_OBJECT_region, mr, ORIGIN);
	return mr;
}

EXPORT struct ibv_mr *ibv_reg_mr_iova2(
	struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, unsigned access)
{
	struct ibv_mr *mr;

	if (fault_hit(FAULT_ibv_reg_mr, ORIGIN))
		return refuse(ENOMEM);
	mr = REAL(ibv_reg_mr_iova2)(pd, addr, len, iova, access);
	fault_created(FAULT_OBJECT_region, mr, ORIGIN);
	return mr;
}

EXPORT int ibv_dereg_mr(struct ibv_mr *mr)
{
	int rc;

	if (fault_hit_object(FAULT_ibv_dereg_mr, ORIGIN, mr))
		return EBUSY;
	rc = REAL(ibv_dereg_mr)(mr);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_region, mr);
	return rc;
}

EXPORT struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *ctx)
{
	struct ibv_comp_channel *channel;

	if (fault_hit(FAULT_ibv_create_comp_channel, ORIGIN))
		return refuse(EMFILE);
	channel = REAL(ibv_create_comp_channel)(ctx);
	fault_created(FAULT_OBJECT_comp_channel, channel, ORIGIN);
	return channel;
}

EXPORT int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	int rc;

	if (fault_hit(FAULT_ibv_destroy_comp_channel, ORIGIN))
		return EBUSY;
	rc = REAL(ibv_destroy_comp_channel)(channel);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_comp_channel, channel);
	return rc;
}

EXPORT struct ibv_cq *ibv_create_cq(struct ibv_context *ctx, int depth, void *user,
	struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq;

	if (fault_hit(FAULT_ibv_create_cq, ORIGIN))
		return refuse(ENOMEM);
	cq = REAL(ibv_create_cq)(ctx, depth, user, channel, vector);
	fault_created(FAULT_OBJECT_cq, cq, ORIGIN);
	if (fault_is_ours(ORIGIN))
		fault_hook(ctx);
	return cq;
}

EXPORT int ibv_destroy_cq(struct ibv_cq *cq)
{
	int rc;

	if (fault_hit(FAULT_ibv_destroy_cq, ORIGIN))
		return EBUSY;
	rc = REAL(ibv_destroy_cq)(cq);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_cq, cq);
	return rc;
}

EXPORT int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **user)
{
	int rc;

	if (fault_hit(FAULT_ibv_get_cq_event, ORIGIN)) {
		errno = EIO;
		return -1;
	}
	rc = REAL(ibv_get_cq_event)(channel, cq, user);
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
	struct ibv_qp *qp;

	if (fault_hit(FAULT_ibv_create_qp, ORIGIN))
		return refuse(ENOMEM);
	qp = REAL(ibv_create_qp)(pd, attr);
	fault_created(FAULT_OBJECT_qp, qp, ORIGIN);
	if (qp)
		fault_remember(qp);
	return qp;
}

EXPORT int ibv_destroy_qp(struct ibv_qp *qp)
{
	int rc;

	if (fault_hit(FAULT_ibv_destroy_qp, ORIGIN))
		return EBUSY;
	fault_forget(qp);
	rc = REAL(ibv_destroy_qp)(qp);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_qp, qp);
	return rc;
}

EXPORT int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	if (fault_hit(FAULT_ibv_modify_qp, ORIGIN))
		return EINVAL;
	return REAL(ibv_modify_qp)(qp, attr, mask);
}
