/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/endpoint.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"
#include "common/verbs.h"

/*
 * How long to poll before sleeping: some times what waiting mostly takes, if that is not long. A near peer
 * answers before a sleeper would be awake; for a far one polling only burns the CPU.
 */
#define SPIN_TIMES 8
#define SPIN_MAX_NS (500 * NSEC_PER_USEC)
#define SPIN_MIN_NS (2 * NSEC_PER_USEC)
#define SPIN_POLLS 64                         /* between looks at the clock */
#define TYPICAL_GUESS_NS (50 * NSEC_PER_USEC) /* until it is known */
#define TYPICAL_MAX_NS NSEC_PER_SEC
#define TYPICAL_STEP 16 /* it moves by this part of itself, whatever a single wait takes */

/* A posted SEND is acknowledged by the peer's NIC, or fails by itself, before this. */
#define SEND_LIMIT_NS (10 * NSEC_PER_SEC)
/* How long the provider may take to flush a queue pair that was told to stop. */
#define FLUSH_LIMIT_NS (2 * NSEC_PER_SEC)

#define RECEIVE_BUFFERS 2UL /* one in the caller's hands, one posted */
#define INLINE_WANTED 512

struct queue {
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	uint64_t typical_ns; /* what waiting for a completion takes, mostly */
};

struct endpoint {
	struct endpoint_port port; /* first: endpoint_port() */
	struct handshake shake;
	pthread_mutex_t watch_lock;
	struct domain *domain;
	struct ibv_mr *mr; /* over buffers */
	uint8_t *buffers;  /* RECEIVE_BUFFERS, then one to send from */
	uint32_t send_depth;
	struct queue send, receive;
	uint32_t write_pieces, read_pieces;
	bool has_atomics;
	int held; /* receive buffer in the caller's hands, or -1 */
	bool connected;
};

static int queue_create(struct endpoint *ep, struct queue *q, int depth)
{
	struct ibv_context *ctx = ep->shake.id->verbs;
	int rc;

	q->channel = ibv_create_comp_channel(ctx);
	if (!q->channel)
		return verbs_errno();
	rc = verbs_set_nonblocking(q->channel->fd);
	if (rc)
		return rc;
	q->typical_ns = TYPICAL_GUESS_NS;
	q->cq = ibv_create_cq(ctx, depth, NULL, q->channel, 0);
	return q->cq ? 0 : verbs_errno();
}

static void queue_destroy(struct queue *q)
{
	if (q->cq)
		ibv_destroy_cq(q->cq);
	if (q->channel)
		ibv_destroy_comp_channel(q->channel);
}

static void drain_notifications(struct queue *q)
{
	struct ibv_cq *cq;
	unsigned n = 0;
	void *ctx;

	while (ibv_get_cq_event(q->channel, &cq, &ctx) == 0)
		n++;
	if (n)
		ibv_ack_cq_events(q->cq, n);
}

static uint64_t spin_limit(const struct queue *q)
{
	uint64_t limit = SPIN_TIMES * q->typical_ns;

	if (q->typical_ns > SPIN_MAX_NS)
		return SPIN_MIN_NS;
	return limit < SPIN_MAX_NS ? limit : SPIN_MAX_NS;
}

/* A running median: half of the waits are longer. One that takes a thousand times as long is one wait. */
static void learn(struct queue *q, uint64_t took_ns)
{
	uint64_t step = q->typical_ns / TYPICAL_STEP;

	if (took_ns < q->typical_ns)
		q->typical_ns -= step;
	else if (q->typical_ns < TYPICAL_MAX_NS)
		q->typical_ns += step + 1;
}

/* Not inlined, so that a profile tells work from waiting.
 * Completions without sleeping, or 0, or a negative errno of the device. *began: the first clock read. */
static __attribute__((noinline)) int spin(
	struct queue *q, struct ibv_wc *wc, int max, uint64_t *began_ns)
{
	uint64_t limit = 0;

	for (;;) {
		for (unsigned i = 0; i < SPIN_POLLS; i++) {
			int n = ibv_poll_cq(q->cq, max, wc);

			if (n)
				return n;
		}
		if (!*began_ns) {
			*began_ns = clock_boot_ns();
			limit = spin_limit(q);
		} else if (clock_boot_ns() - *began_ns >= limit) {
			return 0;
		}
	}
}

/* At least one completion, or -ETIMEDOUT, or -ECANCELED, or a device error. */
static int sleep_for_completions(struct endpoint *ep, struct queue *q, struct ibv_wc *wc, int max,
	uint64_t deadline_ns, int cancel_fd)
{
	int n, rc;

	do {
		if (ibv_req_notify_cq(q->cq, 0))
			return -EIO;
		/* What came before the request is not notified. */
		n = ibv_poll_cq(q->cq, max, wc);
		if (n)
			return n;
		rc = handshake_wait(q->channel->fd, ep->shake.channel->fd, cancel_fd, deadline_ns);
		if (rc)
			return rc;
		drain_notifications(q);
		endpoint_watch(ep);
		n = ibv_poll_cq(q->cq, max, wc);
	} while (n == 0);
	return n;
}

/* Spinning has found n, or will find no more: sleep if it must be, and learn from how long it took. */
static int after_spinning(struct endpoint *ep, struct queue *q, struct ibv_wc *wc, int max, int n,
	uint64_t began_ns, uint64_t deadline_ns, int cancel_fd)
{
	if (n == 0) {
		n = sleep_for_completions(ep, q, wc, max, deadline_ns, cancel_fd);
		if (n == -ETIMEDOUT || n == -ECANCELED)
			return n;
	}
	if (began_ns)
		learn(q, clock_boot_ns() - began_ns);
	return n < 0 ? -EIO : n;
}

static int next_completions(struct endpoint *ep, struct queue *q, struct ibv_wc *wc, int max,
	uint64_t deadline_ns, int cancel_fd)
{
	uint64_t began = 0;
	int n = spin(q, wc, max, &began);

	return after_spinning(ep, q, wc, max, n, began, deadline_ns, cancel_fd);
}

static int post_receive(struct endpoint *ep, int slot)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)ep->buffers + (size_t)slot * MESSAGE_MAX,
		.length = MESSAGE_MAX,
		.lkey = ep->mr->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = (uint64_t)slot, .sg_list = &sge, .num_sge = 1 };
	struct ibv_recv_wr *bad;

	return verbs_err(ibv_post_recv(ep->shake.id->qp, &wr, &bad));
}

static uint32_t pieces(int device_max)
{
	return device_max < 1                  ? 1
	       : device_max < ENDPOINT_SGE_MAX ? (uint32_t)device_max
					       : ENDPOINT_SGE_MAX;
}

/* What the device says about itself. */
static int ask_device(struct endpoint *ep)
{
	struct ibv_device_attr attr;
	int rc = verbs_err(ibv_query_device(ep->shake.id->verbs, &attr));

	if (rc)
		return rc;
	ep->write_pieces = pieces(attr.max_sge);
	ep->read_pieces = pieces(attr.max_sge_rd < attr.max_sge ? attr.max_sge_rd : attr.max_sge);
	ep->has_atomics = attr.atomic_cap != IBV_ATOMIC_NONE;
	if (ep->send_depth + 1 > (uint32_t)attr.max_qp_wr)
		ep->send_depth = attr.max_qp_wr > 1 ? (uint32_t)attr.max_qp_wr - 1 : 1;
	if (ep->send_depth + 1 > (uint32_t)attr.max_cqe)
		ep->send_depth = attr.max_cqe > 1 ? (uint32_t)attr.max_cqe - 1 : 1;
	return 0;
}

static int create_qp(struct endpoint *ep)
{
	uint32_t wanted = INLINE_WANTED;

	for (;;) {
		struct ibv_qp_init_attr attr = {
			.send_cq = ep->send.cq,
			.recv_cq = ep->receive.cq,
			.qp_type = IBV_QPT_RC,
			.cap = {
				.max_send_wr = ep->send_depth + 1,
				.max_recv_wr = RECEIVE_BUFFERS,
				.max_send_sge = ep->write_pieces,
				.max_recv_sge = 1,
				.max_inline_data = wanted,
			},
		};

		if (rdma_create_qp(ep->shake.id, domain_pd(ep->domain), &attr) == 0) {
			ep->port.inline_bytes = attr.cap.max_inline_data;
			ep->port.qp = ep->shake.id->qp;
			ep->port.cq = ep->send.cq;
			return 0;
		}
		/* There is no way to ask a device how much it can take inline, or together. */
		if (wanted == 0 && ep->write_pieces == 1)
			return verbs_errno();
		if (wanted) {
			wanted = wanted > 64 ? wanted / 2 : 0;
		} else {
			ep->write_pieces = ep->read_pieces = 1;
			wanted = INLINE_WANTED;
		}
	}
}

static int explain(int rc, const char *what, struct why *why)
{
	if (rc == -ENOMEM)
		return why_set(why, rc,
			"%s: out of memory, or of lockable memory (see 'ulimit -l'; raise it in "
			"/etc/security/limits.conf, memlock)",
			what);
	return rc ? why_set(why, rc, "%s: %s", what, strerror(-rc)) : 0;
}

static int choose_domain(struct endpoint *ep, struct domain *given, struct why *why)
{
	struct ibv_context *device = ep->shake.id->verbs;

	if (given && domain_pd(given)->context == device) {
		ep->domain = domain_hold(given);
		return 0;
	}
	return explain(domain_create(device, &ep->domain), "ibv_alloc_pd", why);
}

static int create_queues(struct endpoint *ep, struct why *why)
{
	size_t size = (RECEIVE_BUFFERS + 1) * MESSAGE_MAX;
	int rc;

	rc = ask_device(ep);
	if (rc)
		return explain(rc, "ibv_query_device", why);
	ep->buffers = aligned_alloc(MESSAGE_MAX, size);
	if (!ep->buffers)
		return explain(-ENOMEM, "message buffers", why);
	memset(ep->buffers, 0, size);
	ep->mr = ibv_reg_mr(domain_pd(ep->domain), ep->buffers, size, IBV_ACCESS_LOCAL_WRITE);
	if (!ep->mr)
		return explain(verbs_errno(), "registering message buffers", why);
	rc = queue_create(ep, &ep->send, (int)ep->send_depth + 1);
	if (rc == 0)
		rc = queue_create(ep, &ep->receive, RECEIVE_BUFFERS);
	if (rc)
		return explain(rc, "creating completion queues", why);
	rc = create_qp(ep);
	for (int i = 0; rc == 0 && i < (int)RECEIVE_BUFFERS; i++)
		rc = post_receive(ep, i);
	return explain(rc, "creating the queue pair", why);
}

static int try_path(const struct endpoint_attr *attr, const struct target_path *path,
	struct endpoint **out, struct why *why)
{
	struct endpoint *ep = calloc(1, sizeof(*ep));
	int rc;

	if (!ep)
		return explain(-ENOMEM, "connection", why);
	pthread_mutex_init(&ep->watch_lock, NULL);
	ep->held = -1;
	ep->send_depth = attr->send_depth ? attr->send_depth : 1;
	ep->shake.deadline_ns = attr->deadline_ns;
	ep->shake.cancel_fd = attr->cancel_fd;
	rc = handshake_resolve(&ep->shake, path, attr->device, why);
	if (rc == 0)
		rc = choose_domain(ep, attr->domain, why);
	if (rc == 0)
		rc = create_queues(ep, why);
	if (rc == 0)
		rc = handshake_connect(&ep->shake, attr->purpose, why);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	ep->connected = true;
	*out = ep;
	return 0;
}

/* Whatever a device or the kernel answers: callers know these. why says what it was. */
static int connect_errno(int rc)
{
	switch (rc) {
	case 0:
	case -ECANCELED:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTUNREACH:
	case -EMFILE:
	case -ENODEV:
	case -ENOMEM:
	case -EPROTO:
	case -ETIMEDOUT:
	case -EUSERS:
		return rc;
	case -EAGAIN:
		return -ECONNREFUSED;
	case -ENFILE:
		return -EMFILE;
	default:
		return -EIO;
	}
}

int endpoint_connect(const struct endpoint_attr *attr, struct endpoint **out, struct why *why)
{
	struct target_path paths[TARGET_PATHS_MAX];
	int n, rc = -EHOSTUNREACH;

	n = target_resolve(attr->target, attr->device, paths, why);
	if (n < 0)
		return connect_errno(n);
	for (int i = 0; i < n; i++) {
		rc = try_path(attr, &paths[i], out, why);
		if (rc == -EAGAIN) /* the next try has another queue pair number */
			rc = try_path(attr, &paths[i], out, why);
		if (rc == 0 || rc == -ECANCELED || rc == -ETIMEDOUT)
			break;
	}
	return connect_errno(rc);
}

void endpoint_destroy(struct endpoint *ep)
{
	if (!ep)
		return;
	if (ep->connected)
		rdma_disconnect(ep->shake.id);
	if (ep->shake.id && ep->shake.id->qp)
		rdma_destroy_qp(ep->shake.id);
	/* Without a queue nothing was notified, and reading its channel may wait for ever. */
	if (ep->send.cq)
		drain_notifications(&ep->send);
	if (ep->receive.cq)
		drain_notifications(&ep->receive);
	queue_destroy(&ep->send);
	queue_destroy(&ep->receive);
	if (ep->mr)
		ibv_dereg_mr(ep->mr);
	free(ep->buffers);
	domain_release(ep->domain);
	handshake_destroy(&ep->shake);
	pthread_mutex_destroy(&ep->watch_lock);
	free(ep);
}

void endpoint_break(struct endpoint *ep)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (!atomic_exchange(&ep->port.broken, true))
		(void)ibv_modify_qp(ep->shake.id->qp, &attr, IBV_QP_STATE);
}

int endpoint_watch(struct endpoint *ep)
{
	struct rdma_cm_event *event;

	pthread_mutex_lock(&ep->watch_lock);
	while (rdma_get_cm_event(ep->shake.channel, &event) == 0) {
		enum rdma_cm_event_type type = event->event;

		rdma_ack_cm_event(event);
		log_debug("connection to %s: %s", ep->shake.peer, rdma_event_str(type));
		/* Neither moves the queue pair by itself. */
		if (type == RDMA_CM_EVENT_DISCONNECTED || type == RDMA_CM_EVENT_DEVICE_REMOVAL)
			endpoint_break(ep);
	}
	pthread_mutex_unlock(&ep->watch_lock);
	return endpoint_broken(ep) ? -ECONNRESET : 0;
}

static int reset(const struct endpoint *ep, struct why *why)
{
	return why_set(why, -ECONNRESET, "the connection to rmemd at %s broke", ep->shake.peer);
}

int endpoint_post(
	struct endpoint *ep, struct ibv_send_wr *list, struct ibv_send_wr **bad, struct why *why)
{
	*bad = list;
	if (endpoint_broken(ep))
		return reset(ep, why);
	if (ibv_post_send(ep->shake.id->qp, list, bad)) {
		endpoint_break(ep);
		return reset(ep, why);
	}
	return 0;
}

/* One that failed has put the queue pair in error, and all that follow will fail too. */
static int note_failures(struct endpoint *ep, const struct ibv_wc *wc, int n)
{
	for (int i = 0; i < n; i++)
		if (wc[i].status != IBV_WC_SUCCESS)
			endpoint_break(ep);
	return n;
}

/* None came at once: wait for what is on its way, and stop the connection if it does not come. */
static int reap_late(struct endpoint *ep, struct ibv_wc *wc, int max, int n, uint64_t began_ns,
	uint64_t limit_ns)
{
	const bool flushing = endpoint_broken(ep);

	/*
	 * Of a list of which the device took only the beginning, none may be signaled, and those that had
	 * succeeded before the queue pair was stopped say nothing. So this may wait in vain.
	 */
	if (flushing && limit_ns > FLUSH_LIMIT_NS)
		limit_ns = FLUSH_LIMIT_NS;
	n = after_spinning(ep, &ep->send, wc, max, n, began_ns, clock_boot_ns() + limit_ns, -1);
	if (n == -ETIMEDOUT && !flushing) {
		endpoint_break(ep);
		n = next_completions(ep, &ep->send, wc, max, clock_boot_ns() + FLUSH_LIMIT_NS, -1);
	}
	if (n >= 0)
		return n;
	/* The device does not even flush: destroying the queue pair will end it. */
	endpoint_break(ep);
	return -ECONNRESET;
}

int endpoint_reap(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t limit_ns)
{
	uint64_t began = 0;
	int n = spin(&ep->send, wc, max, &began);

	/* Most come soon: without the clock, which costs more than all the rest. */
	if (n <= 0 || began)
		n = reap_late(ep, wc, max, n, began, limit_ns);
	return n < 0 ? n : note_failures(ep, wc, n);
}

int endpoint_wait(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t deadline_ns)
{
	int n = next_completions(ep, &ep->send, wc, max, deadline_ns, -1);

	if (n == -ETIMEDOUT)
		return 0;
	if (n < 0) {
		endpoint_break(ep);
		return -ECONNRESET;
	}
	return note_failures(ep, wc, n);
}

int endpoint_poll(struct endpoint *ep, struct ibv_wc *wc, int max)
{
	int n = ibv_poll_cq(ep->send.cq, max, wc);

	if (n < 0) {
		endpoint_break(ep);
		return -ECONNRESET;
	}
	return note_failures(ep, wc, n);
}

int endpoint_completion_fd(const struct endpoint *ep)
{
	return ep->send.channel->fd;
}

int endpoint_arm(struct endpoint *ep)
{
	return ibv_req_notify_cq(ep->send.cq, 0) ? -EIO : 0;
}

void endpoint_disarm(struct endpoint *ep)
{
	drain_notifications(&ep->send);
}

int endpoint_put_word(
	struct endpoint *ep, uint64_t addr, uint32_t rkey, uint64_t value, struct why *why)
{
	uint8_t *buffer = ep->buffers + RECEIVE_BUFFERS * MESSAGE_MAX;
	struct ibv_sge sge = {
		.addr = (uintptr_t)buffer,
		.length = sizeof(value),
		.lkey = ep->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = addr, .rkey = rkey },
	};
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int rc;

	memcpy(buffer, &value, sizeof(value));
	if (ep->port.inline_bytes >= sizeof(value))
		wr.send_flags |= IBV_SEND_INLINE;
	rc = endpoint_post(ep, &wr, &bad, why);
	if (rc)
		return rc;
	rc = endpoint_reap(ep, &wc, 1, SEND_LIMIT_NS);
	if (rc < 0)
		return reset(ep, why);
	rc = wc.status == IBV_WC_SUCCESS ? 0 : verbs_wc_errno(wc.status);
	return rc ? why_set(why, rc == -EACCES ? rc : -ECONNRESET,
			    "the connection to rmemd at %s broke: %s", ep->shake.peer,
			    ibv_wc_status_str(wc.status))
		  : 0;
}

int endpoint_send(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, struct why *why)
{
	uint8_t *buffer = ep->buffers + RECEIVE_BUFFERS * MESSAGE_MAX;
	struct header header = { .type = (uint8_t)type, .seq = seq };
	struct wire w = wire_over(buffer, MESSAGE_MAX);
	struct ibv_sge sge = { .addr = (uintptr_t)buffer, .lkey = ep->mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int rc;

	header_put(&w, &header);
	if (body)
		wire_put_bytes(&w, body->data, body->pos);
	if (w.failed || (body && body->failed))
		return why_set(why, -EMSGSIZE, "a %s request does not fit into a message",
			message_name((uint8_t)type));
	if (ep->held >= 0) {
		if (post_receive(ep, ep->held))
			endpoint_break(ep);
		ep->held = -1;
	}
	sge.length = (uint32_t)w.pos;
	if (w.pos <= ep->port.inline_bytes)
		wr.send_flags |= IBV_SEND_INLINE;
	rc = endpoint_post(ep, &wr, &bad, why);
	if (rc)
		return rc;
	rc = endpoint_reap(ep, &wc, 1, SEND_LIMIT_NS);
	if (rc < 0 || wc.status != IBV_WC_SUCCESS)
		return reset(ep, why);
	return 0;
}

/* Look at a reply's header; 0, the server's refusal, or -EPROTO. */
static int judge_reply(struct endpoint *ep, enum message_type type, uint32_t seq, struct wire *w,
	bool *refused, struct why *why)
{
	struct header header;
	struct refusal refusal;

	header_get(w, &header);
	if (w->failed || header.type != type || header.seq != seq || header.status > 0 ||
		header.status < -4095)
		goto bad;
	if (header.status == 0)
		return 0;
	refusal_get(w, &refusal);
	if (wire_finish(w))
		goto bad;
	*refused = true;
	return why_set(
		why, header.status, "%s", refusal.why[0] ? refusal.why : strerror(-header.status));
bad:
	endpoint_break(ep);
	return why_set(why, -EPROTO, "rmemd at %s sent a malformed reply to a %s request",
		ep->shake.peer, message_name((uint8_t)type));
}

int endpoint_receive(struct endpoint *ep, enum message_type type, uint32_t seq,
	uint64_t deadline_ns, struct wire *out, bool *refused, struct why *why)
{
	struct ibv_wc wc;
	struct wire w;
	int rc;

	*refused = false;
	rc = next_completions(ep, &ep->receive, &wc, 1, deadline_ns, ep->shake.cancel_fd);
	if (rc == -ETIMEDOUT)
		return why_set(why, rc,
			"rmemd at %s does not answer (it was asked for: %s): is it stopped, or "
			"overloaded?",
			ep->shake.peer, message_name((uint8_t)type));
	if (rc == -ECANCELED)
		return why_set(why, rc, "cancelled");
	if (rc < 0 || wc.status != IBV_WC_SUCCESS) {
		endpoint_break(ep);
		return reset(ep, why);
	}
	ep->held = (int)wc.wr_id;
	w = wire_over(ep->buffers + wc.wr_id * MESSAGE_MAX, wc.byte_len);
	rc = judge_reply(ep, type, seq, &w, refused, why);
	if (rc == 0)
		*out = w;
	return rc;
}

int endpoint_call(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct wire *out, struct why *why)
{
	bool refused;
	int rc;

	rc = endpoint_send(ep, type, seq, body, why);
	if (rc)
		return rc;
	return endpoint_receive(ep, type, seq, deadline_ns, out, &refused, why);
}

int endpoint_fd(const struct endpoint *ep)
{
	return ep->shake.channel->fd;
}

struct domain *endpoint_domain(const struct endpoint *ep)
{
	return ep->domain;
}

uint32_t endpoint_write_pieces(const struct endpoint *ep)
{
	return ep->write_pieces;
}

uint32_t endpoint_read_pieces(const struct endpoint *ep)
{
	return ep->read_pieces;
}

bool endpoint_has_atomics(const struct endpoint *ep)
{
	return ep->has_atomics;
}

uint32_t endpoint_send_depth(const struct endpoint *ep)
{
	return ep->send_depth;
}

const char *endpoint_peer(const struct endpoint *ep)
{
	return ep->shake.peer;
}
