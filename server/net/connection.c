/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/verbs.h"
#include "server/base/destroy.h"
#include "server/base/work.h"
#include "server/memory/limits.h"

#define BUFFERS (CONNECTION_RECVS + CONNECTION_SENDS)
#define SIGNALED_EVERY 4    /* replies */
#define SEND_QUEUE_DEPTH 32 /* that many replies, each with a bind in front, twice; and more */
#define CQ_DEPTH (SEND_QUEUE_DEPTH + CONNECTION_RECVS)
#define EVENTS_PER_TURN 64
#define ACK_TIMEOUT_EXPONENT 16 /* 4.096 us × 2^16 = 0.27 s per try */
#define RNR_RETRIES 6           /* 7 would mean: for ever */

_Static_assert(LIMITS_CONNECTION_BYTES >= BUFFERS * MESSAGE_MAX + 4096,
	"buffers, and the page with the line of the heartbeat page");

/* What a work request was, in the low bits of its id. */
enum wr_kind { WR_RECV = 1, WR_SEND = 2, WR_INVALIDATE = 3, WR_KIND_MASK = 7 };

static uint8_t *buffer_at(const struct connection *c, unsigned i)
{
	return c->buffers + (size_t)i * MESSAGE_MAX;
}

static int post_recv(struct connection *c, unsigned i)
{
	struct ibv_sge sge = { .addr = (uintptr_t)buffer_at(c, i),
		.length = MESSAGE_MAX,
		.lkey = c->buffers_region->lkey };
	struct ibv_recv_wr wr = {
		.wr_id = (uint64_t)i << 3 | WR_RECV, .sg_list = &sge, .num_sge = 1
	};
	struct ibv_recv_wr *bad;

	return verbs_err(ibv_post_recv(c->id->qp, &wr, &bad));
}

static int create_queue_pair(struct connection *c)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = SEND_QUEUE_DEPTH,
			.max_recv_wr = CONNECTION_RECVS,
			.max_send_sge = 1,
			.max_recv_sge = 1 },
	};

	c->cq = ibv_create_cq(c->id->verbs, CQ_DEPTH, c, c->device->channel, 0);
	if (!c->cq)
		return verbs_errno();
	if (ibv_req_notify_cq(c->cq, 0))
		return verbs_errno();
	attr.send_cq = attr.recv_cq = c->cq;
	return verbs_err(rdma_create_qp(c->id, c->device->pd, &attr));
}

static int create_buffers(struct connection *c)
{
	int err;

	if (posix_memalign((void **)&c->buffers, 4096, (size_t)BUFFERS * MESSAGE_MAX))
		return -ENOMEM;
	memset(c->buffers, 0, (size_t)BUFFERS * MESSAGE_MAX);
	c->buffers_region = ibv_reg_mr(
		c->device->pd, c->buffers, (size_t)BUFFERS * MESSAGE_MAX, IBV_ACCESS_LOCAL_WRITE);
	if (!c->buffers_region)
		return verbs_errno();
	for (unsigned i = 0; i < CONNECTION_RECVS; i++) {
		err = post_recv(c, i);
		if (err)
			return err;
	}
	return 0;
}

/* The queue pair is in error or was never used. Spares are not bound: the completion of an invalidation has said so. */
void connection_close(struct connection *c)
{
	c->state = CONNECTION_CLOSING;
	for (unsigned i = 0; i < c->nspares; i++)
		DESTROY("an unused memory window", ibv_dealloc_mw(c->spares[i]));
	if (c->id && c->id->qp)
		rdma_destroy_qp(c->id);
	if (c->cq) {
		ibv_ack_cq_events(c->cq, c->cq_events);
		c->cq_events = 0;
		c->left |= DESTROY("a completion queue", ibv_destroy_cq(c->cq)) != 0;
	}
	/* No peer can write there without the queue pair, even if the region stays. */
	if (c->buffers_region)
		DESTROY("the region of message buffers", ibv_dereg_mr(c->buffers_region));
	free(c->buffers);
	free(c->report);
	if (c->id)
		c->left |= DESTROY("a connection's id", rdma_destroy_id(c->id)) != 0;
}

void connection_free(struct connection *c)
{
	if (!c->left)
		free(c);
}

static int accept_peer(struct connection *c, const struct rdma_conn_param *asked)
{
	const struct preamble preamble = { .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION };
	uint8_t private_data[PREAMBLE_SIZE], ack_timeout = ACK_TIMEOUT_EXPONENT;
	struct wire w = wire_over(private_data, sizeof(private_data));
	int max_reads = c->device->attr.max_qp_rd_atom;
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = sizeof(private_data),
		.responder_resources = asked->responder_resources < max_reads
					       ? asked->responder_resources
					       : (uint8_t)max_reads,
		.initiator_depth = 0, /* the server never reads a client's memory */
		.rnr_retry_count = RNR_RETRIES,
	};

	preamble_put(&w, &preamble);
	/* Not every provider has it; then the default timeout stays. */
	if (rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout,
		    sizeof(ack_timeout)))
		log_debug("%s: no ACK timeout option", device_name(c->device));
	return verbs_err(rdma_accept(c->id, &param));
}

static void describe_peer(struct connection *c)
{
	const struct sockaddr *sa = rdma_get_peer_addr(c->id);
	const void *addr = sa->sa_family == AF_INET
				   ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
				   : (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr;

	if (!inet_ntop(sa->sa_family, addr, c->peer, sizeof(c->peer)))
		snprintf(c->peer, sizeof(c->peer), "?");
}

int connection_accept(struct net *net, struct device *d, struct rdma_cm_id *id,
	const struct rdma_conn_param *asked, enum purpose purpose)
{
	struct connection *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->net = net;
	c->device = d;
	c->id = id;
	c->purpose = purpose;
	c->opened_ns = c->active_ns = clock_boot_ns();
	describe_peer(c);
	err = create_queue_pair(c);
	if (!err)
		err = create_buffers(c);
	if (!err)
		err = accept_peer(c, asked);
	if (err) {
		c->id = NULL; /* still the caller's */
		if (id->qp)
			rdma_destroy_qp(id);
		connection_close(c);
		connection_free(c);
		return err;
	}
	id->context = c;
	connection_move(c, &net->connections);
	net->nchannels += purpose == PURPOSE_CHANNEL;
	net->nconnections += purpose != PURPOSE_CHANNEL;
	net->nobservers += purpose == PURPOSE_OBSERVER;
	return 0;
}

void connection_established(struct connection *c)
{
	if (c->state == CONNECTION_ACCEPTING)
		c->state = CONNECTION_OPEN;
}

void connection_abort(struct connection *c, const char *fmt, ...)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct net *net = c->net;
	char reason[256];
	va_list ap;

	if (c->state == CONNECTION_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	log_debug("connection from %s ends: %s", c->peer, reason);
	c->state = CONNECTION_CLOSING;
	wait_cancel(&c->pending.wait);
	c->pending.active = false;
	/* From here on the device refuses whatever the peer still sends on this queue pair. */
	if (ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE))
		log_warn("connection from %s: the queue pair does not go to error: %s", c->peer,
			strerror(errno));
	rdma_disconnect(c->id);
	net->nconnections -= c->purpose != PURPOSE_CHANNEL;
	net->nobservers -= c->purpose == PURPOSE_OBSERVER;
	connection_move(c, &net->dying);
	wait_finish(&c->closing, 0);
	work_wake(net->work);
}

static void handle_recv(struct connection *c, unsigned i, const struct ibv_wc *wc)
{
	uint8_t message[MESSAGE_MAX];
	int err;

	/*
	 * Nothing but a plain SEND is a message. One that invalidates a window has left us with a wrong
	 * idea of its state (rxe reports it under another flag: the kernel's numbers differ from those
	 * of libibverbs); a write with immediate data ends here too, and its length is of the write, not
	 * of our buffer.
	 */
	if (wc->opcode != IBV_WC_RECV || wc->wc_flags & ~(unsigned)IBV_WC_GRH ||
		wc->byte_len > MESSAGE_MAX) {
		connection_abort(c, "it sent something that is no message (opcode %d, flags 0x%x)",
			wc->opcode, wc->wc_flags);
		return;
	}
	/* Copied, so that the buffer is posted again before the peer gets its answer. */
	memcpy(message, buffer_at(c, i), wc->byte_len);
	err = post_recv(c, i);
	if (err) {
		connection_abort(c, "cannot post a receive: %s", strerror(-err));
		return;
	}
	c->active_ns = clock_boot_ns();
	c->net->events->message(c, message, wc->byte_len);
}

static void handle_completion(struct connection *c, const struct ibv_wc *wc)
{
	unsigned i = (unsigned)(wc->wr_id >> 3);

	if (c->state == CONNECTION_CLOSING)
		return;
	if (wc->status != IBV_WC_SUCCESS) {
		connection_abort(c, "work completion: %s (vendor 0x%x)",
			ibv_wc_status_str(wc->status), wc->vendor_err);
		return;
	}
	switch (wc->wr_id & WR_KIND_MASK) {
	case WR_RECV:
		handle_recv(c, i, wc);
		break;
	case WR_INVALIDATE:
		c->net->events->invalidated(
			(struct grant *)(uintptr_t)(wc->wr_id & ~(uint64_t)WR_KIND_MASK));
		break;
	default: /* a reply was sent */
		break;
	}
}

/*
 * One queue's worth, however fast the peer is: that is all that was there when notification was asked
 * for, so whatever stays has announced itself since, and its turn comes after the others'.
 */
static void poll_connection(struct connection *c)
{
	struct ibv_wc wc[CQ_DEPTH];
	int n = 0, left = CQ_DEPTH;

	while (left > 0 && (n = ibv_poll_cq(c->cq, left, wc)) > 0) {
		for (int i = 0; i < n; i++)
			handle_completion(c, &wc[i]);
		left -= n;
	}
	if (n < 0)
		connection_abort(c, "cannot poll its completion queue");
}

void connection_poll_device(struct device *d)
{
	struct ibv_cq *cq;
	void *context;

	/* The loop comes back at once if there is more: other events, signals and time have their turn. */
	for (unsigned i = 0; i < EVENTS_PER_TURN; i++) {
		struct connection *c;

		if (ibv_get_cq_event(d->channel, &cq, &context))
			break;
		c = context;

		c->cq_events++;
		/* Ask first, poll then: what arrives in between is seen or announced. */
		if (ibv_req_notify_cq(cq, 0))
			connection_abort(c, "no completion notifications");
		poll_connection(c);
	}
}

/*
 * The peer asks again only after it has our answer, so the buffer before last is free whether or not the
 * device has said so. That spares a completion, and a wake-up, for most replies.
 */
void connection_reply_begin(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, struct reply *r)
{
	const struct header header = { .type = type, .seq = seq, .status = status };
	unsigned buffer = CONNECTION_RECVS + c->replies++ % CONNECTION_SENDS;

	r->body = wire_over(buffer_at(c, buffer), MESSAGE_MAX);
	header_put(&r->body, &header);
}

int connection_reply_send(struct connection *c, struct reply *r, struct ibv_send_wr *bind)
{
	struct ibv_sge sge = { .addr = (uintptr_t)r->body.data,
		.length = (uint32_t)r->body.pos,
		.lkey = c->buffers_region->lkey };
	struct ibv_send_wr send = { .wr_id = WR_SEND,
		.opcode = IBV_WR_SEND,
		/* Some providers free send queue entries only when a later one is signaled. */
		.send_flags = c->replies % SIGNALED_EVERY == 0 ? IBV_SEND_SIGNALED : 0,
		.sg_list = &sge,
		.num_sge = 1 };
	struct ibv_send_wr *bad;

	if (r->body.failed)
		return -EMSGSIZE;
	if (bind)
		bind->next = &send;
	return verbs_err(ibv_post_send(c->id->qp, bind ? bind : &send, &bad));
}

int connection_reply_status(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, const char *reason)
{
	struct refusal refusal = { "" };
	struct reply r;

	connection_reply_begin(c, type, seq, status, &r);
	if (status < 0) {
		snprintf(refusal.errinfo, sizeof(refusal.errinfo), "%s", reason);
		refusal_put(&r.body, &refusal);
	}
	return connection_reply_send(c, &r, NULL);
}

int connection_post_invalidate(struct connection *c, struct grant *g, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;

	wr->wr_id = (uint64_t)(uintptr_t)g | WR_INVALIDATE;
	return verbs_err(ibv_post_send(c->id->qp, wr, &bad));
}
