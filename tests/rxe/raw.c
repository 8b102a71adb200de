/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/verbs.h"

#define RECEIVES 4
#define SENDS 2
#define MEMORY_BYTES ((size_t)(RECEIVES + SENDS) * MESSAGE_MAX + RAW_DATA_BYTES)
#define SPIN_POLLS 2000 /* a near server has answered by then */
#define ACK_TIMEOUT_EXPONENT \
	18 /* 1.1 s, and with all retries 7.5 s: a processor may stand for seconds */
#define RETRIES 6
#define WR_RECV 1 /* low bit of a work request's id */

static uint64_t limit(void)
{
	return clock_boot_ns() + RAW_LIMIT_NS;
}

/* ---- events and completions ---- */

/* Sleep until the server or the connection manager has something for us. */
static int wait_readable(struct raw *r, uint64_t deadline_ns)
{
	struct pollfd fds[2] = {
		{ .fd = r->channel->fd, .events = POLLIN },
		{ .fd = r->notify ? r->notify->fd : -1, .events = POLLIN },
	};
	uint64_t now = clock_boot_ns();

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	(void)poll(fds, 2, (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1);
	return 0;
}

static void drain_notifications(struct raw *r)
{
	struct ibv_cq *cq;
	void *context;

	while (ibv_get_cq_event(r->notify, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
}

/* After the connection is made only its end is news. */
static void look_for_the_end(struct raw *r)
{
	struct rdma_cm_event *event;

	while (rdma_get_cm_event(r->channel, &event) == 0) {
		r->gone |= event->event == RDMA_CM_EVENT_DISCONNECTED ||
			   event->event == RDMA_CM_EVENT_DEVICE_REMOVAL;
		rdma_ack_cm_event(event);
	}
}

static int post_receive(struct raw *r, unsigned slot)
{
	struct ibv_sge sge = { .addr = (uintptr_t)r->memory + (size_t)slot * MESSAGE_MAX,
		.length = MESSAGE_MAX,
		.lkey = r->mr->lkey };
	struct ibv_recv_wr wr = {
		.wr_id = (uint64_t)slot << 1 | WR_RECV, .sg_list = &sge, .num_sge = 1
	};
	struct ibv_recv_wr *bad;

	return verbs_err(ibv_post_recv(r->id->qp, &wr, &bad));
}

static void take(struct raw *r, const struct ibv_wc *wc)
{
	if (!(wc->wr_id & WR_RECV)) {
		r->sent = true;
		r->status = wc->status;
		return;
	}
	if (wc->status != IBV_WC_SUCCESS) {
		r->gone = true;
		return;
	}
	r->inbox[r->ninbox] = wc->byte_len;
	r->slots[r->ninbox++] = (unsigned)(wc->wr_id >> 1);
}

static int poll_queue(struct raw *r)
{
	struct ibv_wc wc;
	int n = ibv_poll_cq(r->cq, 1, &wc);

	if (n > 0)
		take(r, &wc);
	return n;
}

/* Until *flag, or a message if flag is NULL, or the end. What arrived before the end still counts. */
static int wait_for(struct raw *r, const bool *flag, uint64_t deadline_ns)
{
	for (unsigned spins = 0;;) {
		int n = poll_queue(r);

		if (flag ? *flag : r->ninbox > 0)
			return 0;
		if (n > 0 || ++spins < SPIN_POLLS)
			continue;
		look_for_the_end(r);
		if (ibv_req_notify_cq(r->cq, 0))
			return -EIO;
		if (poll_queue(r) > 0)
			continue;
		if (r->gone)
			return -ECONNRESET;
		if (wait_readable(r, deadline_ns))
			return -ETIMEDOUT;
		drain_notifications(r);
	}
}

int raw_wait_gone(struct raw *r, uint64_t limit_ns)
{
	uint64_t deadline_ns = clock_boot_ns() + limit_ns;
	int err = 0;

	while (!err && !r->gone) {
		look_for_the_end(r);
		if (!r->gone)
			err = wait_readable(r, deadline_ns);
		while (poll_queue(r) > 0)
			r->ninbox = 0;
		drain_notifications(r);
	}
	return err;
}

/* ---- connecting ---- */

static int next_event(struct raw *r, struct rdma_cm_event **out)
{
	uint64_t deadline_ns = limit();

	while (rdma_get_cm_event(r->channel, out)) {
		int err = errno == EAGAIN ? wait_readable(r, deadline_ns) : -errno;

		if (err)
			return err;
	}
	return 0;
}

static int expect(struct raw *r, enum rdma_cm_event_type wanted)
{
	struct rdma_cm_event *event;
	int err = next_event(r, &event);

	if (err)
		return err;
	err = event->event == wanted ? 0 : -EHOSTUNREACH;
	rdma_ack_cm_event(event);
	return err;
}

static int resolve(struct raw *r, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint8_t ack_timeout = ACK_TIMEOUT_EXPONENT;
	const char *host = getenv("RMEM_HOST");
	int err;

	if (!host || inet_pton(AF_INET, host, &to.sin_addr) != 1)
		return -ENODEV;
	r->channel = rdma_create_event_channel();
	if (!r->channel)
		return verbs_errno();
	fcntl(r->channel->fd, F_SETFL, O_NONBLOCK);
	if (rdma_create_id(r->channel, &r->id, NULL, RDMA_PS_TCP) ||
		rdma_resolve_addr(r->id, NULL, (struct sockaddr *)&to, RAW_LIMIT_MS))
		return verbs_errno();
	err = expect(r, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (err)
		return err;
	(void)rdma_set_option(r->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout,
		sizeof(ack_timeout));
	if (rdma_resolve_route(r->id, RAW_LIMIT_MS))
		return verbs_errno();
	return expect(r, RDMA_CM_EVENT_ROUTE_RESOLVED);
}

static int create_queues(struct raw *r, bool no_receives)
{
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 8,
			.max_recv_wr = RECEIVES,
			.max_send_sge = 1,
			.max_recv_sge = 1 } };
	int err;

	r->pd = ibv_alloc_pd(r->id->verbs);
	r->memory = aligned_alloc(MESSAGE_MAX, MEMORY_BYTES);
	if (!r->pd || !r->memory)
		return -ENOMEM;
	memset(r->memory, 0, MEMORY_BYTES);
	r->mr = ibv_reg_mr(r->pd, r->memory, MEMORY_BYTES, IBV_ACCESS_LOCAL_WRITE);
	r->notify = ibv_create_comp_channel(r->id->verbs);
	if (!r->mr || !r->notify)
		return verbs_errno();
	fcntl(r->notify->fd, F_SETFL, O_NONBLOCK);
	r->cq = ibv_create_cq(r->id->verbs, 32, NULL, r->notify, 0);
	if (!r->cq)
		return verbs_errno();
	attr.send_cq = attr.recv_cq = r->cq;
	err = verbs_err(rdma_create_qp(r->id, r->pd, &attr));
	for (unsigned i = 0; !err && !no_receives && i < RECEIVES; i++)
		err = post_receive(r, i);
	return err;
}

static void keep_answer(struct raw *r, const struct rdma_cm_event *event)
{
	struct wire w = wire_over((void *)event->param.conn.private_data, PREAMBLE_SIZE);

	if (!event->param.conn.private_data || event->param.conn.private_data_len < PREAMBLE_SIZE)
		return;
	preamble_get(&w, &r->answer);
	r->has_answer = true;
}

static int shake_hands(struct raw *r, const struct raw_attr *attr)
{
	struct preamble p = { .magic = PROTOCOL_MAGIC,
		.version = PROTOCOL_VERSION,
		.purpose = attr->purpose ? attr->purpose : PURPOSE_SESSION };
	uint8_t data[PREAMBLE_SIZE];
	struct wire w = wire_over(data, sizeof(data));
	struct rdma_conn_param param = { .private_data = data,
		.private_data_len = sizeof(data),
		.initiator_depth = 16,
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES };
	struct rdma_cm_event *event;
	int err;

	preamble_put(&w, &p);
	if (attr->private_data) {
		param.private_data = attr->private_data_len ? attr->private_data : NULL;
		param.private_data_len = attr->private_data_len;
	}
	if (rdma_connect(r->id, &param))
		return verbs_errno();
	err = next_event(r, &event);
	if (err)
		return err;
	keep_answer(r, event);
	r->established = event->event == RDMA_CM_EVENT_ESTABLISHED;
	err = r->established ? 0 : event->event == RDMA_CM_EVENT_REJECTED ? -ECONNREFUSED : -EIO;
	rdma_ack_cm_event(event);
	return err;
}

int raw_connect(uint16_t port, const struct raw_attr *attr, struct raw **out)
{
	const struct raw_attr defaults = { 0 };
	struct raw *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	attr = attr ? attr : &defaults;
	err = resolve(r, port);
	if (!err)
		err = create_queues(r, attr->no_receives);
	if (!err)
		err = shake_hands(r, attr);
	if (!err || err == -ECONNREFUSED)
		*out = r;
	else
		raw_close(r);
	return err;
}

void raw_close(struct raw *r)
{
	if (!r)
		return;
	if (r->established)
		rdma_disconnect(r->id);
	if (r->id && r->id->qp)
		rdma_destroy_qp(r->id);
	if (r->notify)
		drain_notifications(r);
	if (r->cq)
		ibv_destroy_cq(r->cq);
	if (r->notify)
		ibv_destroy_comp_channel(r->notify);
	if (r->mr)
		ibv_dereg_mr(r->mr);
	if (r->pd)
		ibv_dealloc_pd(r->pd);
	free(r->memory);
	if (r->id)
		rdma_destroy_id(r->id);
	if (r->channel)
		rdma_destroy_event_channel(r->channel);
	free(r);
}

/* ---- messages ---- */

static uint8_t *send_buffer(struct raw *r)
{
	return r->memory + (size_t)(RECEIVES + r->seq % SENDS) * MESSAGE_MAX;
}

uint8_t *raw_data(struct raw *r)
{
	return r->memory + (size_t)(RECEIVES + SENDS) * MESSAGE_MAX;
}

static int post(struct raw *r, struct ibv_send_wr *wr, void *from, size_t n)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)from, .length = (uint32_t)n, .lkey = r->mr->lkey
	};
	struct ibv_send_wr *bad;

	wr->send_flags = IBV_SEND_SIGNALED;
	wr->sg_list = &sge;
	wr->num_sge = n ? 1 : 0;
	r->sent = false;
	return verbs_err(ibv_post_send(r->id->qp, wr, &bad));
}

int raw_send_nowait(struct raw *r, const void *bytes, size_t n)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND };

	r->seq++;
	if (n)
		memcpy(send_buffer(r), bytes, n);
	return post(r, &wr, send_buffer(r), n);
}

int raw_send(struct raw *r, const void *bytes, size_t n)
{
	int err = raw_send_nowait(r, bytes, n);

	if (!err)
		err = wait_for(r, &r->sent, limit());
	if (!err && r->status != IBV_WC_SUCCESS)
		err = -ECONNRESET;
	return err;
}

int raw_receive(struct raw *r, struct wire *out)
{
	unsigned slot;
	int err = wait_for(r, NULL, limit());

	if (err)
		return err;
	slot = r->slots[0];
	*out = wire_over(r->memory + (size_t)slot * MESSAGE_MAX, r->inbox[0]);
	r->ninbox--;
	memmove(r->inbox, r->inbox + 1, r->ninbox * sizeof(r->inbox[0]));
	memmove(r->slots, r->slots + 1, r->ninbox * sizeof(r->slots[0]));
	/* Three more are posted: this one is the caller's until it comes round again. */
	return post_receive(r, slot);
}

int raw_request(struct raw *r, enum message_type type, const struct wire *body)
{
	const struct header h = { .type = (uint8_t)type, .seq = r->seq + 1 };
	uint8_t message[MESSAGE_MAX];
	struct wire w = wire_over(message, sizeof(message));

	header_put(&w, &h);
	if (body)
		wire_put_bytes(&w, body->data, body->pos);
	if (w.failed || (body && body->failed))
		return -EMSGSIZE;
	return raw_send(r, message, w.pos);
}

int raw_reply(struct raw *r, enum message_type type, struct wire *out)
{
	struct wire reply;
	struct header h;
	int err = raw_receive(r, &reply);

	if (err)
		return err;
	header_get(&reply, &h);
	if (reply.failed || h.type != type || h.seq != r->seq || h.status > 0)
		return -EPROTO;
	if (!h.status && out)
		*out = reply;
	return h.status;
}

int raw_call(struct raw *r, enum message_type type, const struct wire *body, struct wire *out)
{
	int err = raw_request(r, type, body);

	return err ? err : raw_reply(r, type, out);
}

/* ---- one-sided ---- */

/* Posts and waits. What the server's end of the connection says meanwhile does not matter. */
static enum ibv_wc_status finish(struct raw *r, struct ibv_send_wr *wr, void *from, size_t n)
{
	uint64_t deadline_ns = limit();
	int err = post(r, wr, from, n);

	while (!err && !r->sent) {
		err = wait_for(r, &r->sent, deadline_ns);
		/* The peer is gone: the device still has to say how this request ended. */
		if (err == -ECONNRESET && clock_boot_ns() < deadline_ns)
			err = 0;
	}
	return err ? IBV_WC_GENERAL_ERR : r->status;
}

enum ibv_wc_status raw_access(
	struct raw *r, enum ibv_wr_opcode opcode, uint64_t addr, size_t bytes, uint32_t rkey)
{
	struct ibv_send_wr wr = { .opcode = opcode };

	if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP) {
		wr.wr.atomic.remote_addr = addr;
		wr.wr.atomic.rkey = rkey;
		wr.wr.atomic.compare_add = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
		wr.wr.atomic.swap = UINT64_MAX;
		bytes = sizeof(uint64_t);
	} else {
		wr.wr.rdma.remote_addr = addr;
		wr.wr.rdma.rkey = rkey;
	}
	return finish(r, &wr, raw_data(r), bytes);
}

enum ibv_wc_status raw_send_with_inv(struct raw *r, const void *bytes, size_t n, uint32_t rkey)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND_WITH_INV, .invalidate_rkey = rkey };

	r->seq++;
	memcpy(send_buffer(r), bytes, n);
	return finish(r, &wr, send_buffer(r), n);
}
