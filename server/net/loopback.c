/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/loopback.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/denial.h"
#include "server/base/destroy.h"

#define DEADLINE_NS (2 * NSEC_PER_SEC)
#define PSN_MASK 0xffffffU
#define ACK_TIMEOUT 16 /* 4.096 us * 2^16 = 0.27 s, and */
#define RETRY_COUNT 6  /* (7 would mean for ever on rxe) with the first try 1.9 s */

/* A packet sequence number to start from; what strays from an earlier pair must not fit. */
static uint32_t random_psn(void)
{
	uint32_t v;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		v = (uint32_t)clock_boot_ns();
	return v & PSN_MASK;
}

static struct ibv_qp *create_qp(struct ibv_pd *pd, struct ibv_cq *cq)
{
	struct ibv_qp_init_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.send_cq = cq;
	attr.recv_cq = cq;
	attr.cap.max_send_wr = 4;
	attr.cap.max_recv_wr = 1;
	attr.cap.max_send_sge = 1;
	attr.cap.max_recv_sge = 1;
	attr.qp_type = IBV_QPT_RC;
	attr.sq_sig_all = 1;
	return ibv_create_qp(pd, &attr);
}

static int to_init(struct ibv_qp *qp, const struct verbs_port *port)
{
	struct ibv_qp_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.qp_state = IBV_QPS_INIT;
	attr.port_num = port->port;
	attr.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	return verbs_err(ibv_modify_qp(
		qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
}

static int to_receive(
	struct ibv_qp *qp, const struct verbs_port *port, uint32_t peer_qpn, uint32_t peer_psn)
{
	struct ibv_qp_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.qp_state = IBV_QPS_RTR;
	attr.path_mtu = port->mtu;
	attr.dest_qp_num = peer_qpn;
	attr.rq_psn = peer_psn;
	attr.max_dest_rd_atomic = 1;
	attr.min_rnr_timer = 12;
	attr.ah_attr.port_num = port->port;
	attr.ah_attr.dlid = port->lid;
	attr.ah_attr.is_global = port->global;
	attr.ah_attr.grh.dgid = port->gid;
	attr.ah_attr.grh.sgid_index = port->gid_index;
	attr.ah_attr.grh.hop_limit = 64;
	return verbs_err(ibv_modify_qp(qp, &attr,
		IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
}

static int to_send(struct ibv_qp *qp, uint32_t psn)
{
	struct ibv_qp_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.qp_state = IBV_QPS_RTS;
	attr.timeout = ACK_TIMEOUT;
	attr.retry_cnt = RETRY_COUNT;
	attr.rnr_retry = RETRY_COUNT;
	attr.sq_psn = psn;
	attr.max_rd_atomic = 1;
	return verbs_err(ibv_modify_qp(qp, &attr,
		IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
}

static int connect_both(const struct loopback *l, const struct verbs_port *port)
{
	uint32_t holder_psn = random_psn(), user_psn = random_psn();
	int err;

	err = to_init(l->holder, port);
	if (!err)
		err = to_init(l->user, port);
	if (!err)
		err = to_receive(l->holder, port, l->user->qp_num, user_psn);
	if (!err)
		err = to_receive(l->user, port, l->holder->qp_num, holder_psn);
	if (!err)
		err = to_send(l->holder, holder_psn);
	if (!err)
		err = to_send(l->user, user_psn);
	return err;
}

int loopback_open(struct loopback *out, struct ibv_pd *pd, const struct verbs_port *port,
	struct errinfo *errinfo)
{
	struct loopback l = { 0 };
	int err;

	l.cq = ibv_create_cq(pd->context, 16, NULL, NULL, 0);
	if (!l.cq) {
		err = denial_explain(DENIED_PINNED, verbs_errno(), "a completion queue", errinfo);
		goto fail;
	}
	l.holder = create_qp(pd, l.cq);
	if (l.holder)
		l.user = create_qp(pd, l.cq);
	if (!l.user) {
		err = denial_explain(DENIED_PINNED, verbs_errno(), "a queue pair", errinfo);
		goto fail;
	}
	err = connect_both(&l, port);
	if (err) {
		errinfo_set(errinfo, err, "its queue pairs cannot be connected in loopback");
		goto fail;
	}
	*out = l;
	return 0;
fail:
	loopback_close(&l);
	return err;
}

void loopback_close(struct loopback *l)
{
	if (l->user)
		DESTROY("a queue pair", ibv_destroy_qp(l->user));
	if (l->holder)
		DESTROY("a queue pair", ibv_destroy_qp(l->holder));
	if (l->cq)
		DESTROY("a completion queue", ibv_destroy_cq(l->cq));
	memset(l, 0, sizeof(*l));
}

int loopback_execute(const struct loopback *l, struct ibv_qp *qp, struct ibv_send_wr *wr,
	struct errinfo *errinfo)
{
	uint64_t deadline = clock_boot_ns() + DEADLINE_NS;
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int n, err;

	err = verbs_err(ibv_post_send(qp, wr, &bad));
	if (err)
		return errinfo_set(errinfo, err, "a request cannot be posted");
	/* Nothing else is outstanding on the pair, so the next completion is this request's. */
	while ((n = ibv_poll_cq(l->cq, 1, &wc)) == 0) {
		if (clock_boot_ns() > deadline)
			return errinfo_set(errinfo, -ETIMEDOUT, "a request does not complete");
		sched_yield();
	}
	if (n < 0)
		return errinfo_set(errinfo, -EIO, "its completion queue cannot be polled");
	if (wc.status != IBV_WC_SUCCESS)
		return errinfo_set(errinfo, verbs_wc_errno(wc.status), "a request ends with: %s",
			ibv_wc_status_str(wc.status));
	return 0;
}
