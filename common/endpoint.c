/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/endpoint_impl.h"
#include "common/log.h"
#include "common/denial.h"
#include "common/verbs.h"

#define INLINE_WANTED 512

/* How long the provider may take to flush a queue pair that was told to stop. */
#define FLUSH_LIMIT_NS (2 * NSEC_PER_SEC)

/*
 * The connection manager repeats a request only after 4.3 s (4.096 us << 20, Linux: CMA_CM_RESPONSE_TIMEOUT
 * in drivers/infiniband/core/cma.c). So it is asked anew when a request may have been lost: first
 * after this part of the time that there is, five times in all, if that is not too often for the server.
 */
#define FIRST_ATTEMPT 8
#define ATTEMPT_MIN_NS (300 * NSEC_PER_MSEC)
#define ATTEMPT_MAX_NS (2 * NSEC_PER_SEC)
#define STALE_MAX 2 /* each has another queue pair number, so one more should do */

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
	ep->keeps_apart = verbs_is_rxe(&attr) && !handshake_is_local(&ep->shake);
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
			.send_cq = ep->send.ibv,
			.recv_cq = ep->receive.ibv,
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
			ep->port.cq = ep->send.ibv;
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

int endpoint_explain(int rc, const char *what, struct errinfo *errinfo)
{
	return rc ? denial_explain(DENIED_PINNED, rc, what, errinfo) : 0;
}

static int choose_domain(struct endpoint *ep, struct domain *given, struct errinfo *errinfo)
{
	struct ibv_context *device = ep->shake.id->verbs;

	if (given && domain_pd(given)->context == device) {
		ep->domain = domain_hold(given);
		return 0;
	}
	return endpoint_explain(domain_create(device, &ep->domain), "ibv_alloc_pd", errinfo);
}

static int create_queues(struct endpoint *ep, struct errinfo *errinfo)
{
	int rc;

	rc = ask_device(ep);
	if (rc)
		return endpoint_explain(rc, "ibv_query_device", errinfo);
	rc = endpoint_create_buffers(ep, errinfo);
	if (rc)
		return rc;
	rc = cq_create(&ep->send, ep->shake.id->verbs, (int)ep->send_depth + 1);
	if (rc == 0)
		rc = cq_create(&ep->receive, ep->shake.id->verbs, RECEIVE_BUFFERS);
	if (rc)
		return endpoint_explain(rc, "creating completion queues", errinfo);
	rc = create_qp(ep);
	if (rc == 0)
		rc = endpoint_post_receives(ep);
	return endpoint_explain(rc, "creating the queue pair", errinfo);
}

/* One request of the connection manager, which is given up at a time of its own. */
static int attempt(const struct endpoint_attr *attr, const struct target_path *path,
	uint64_t patience_ns, struct endpoint **out, struct errinfo *errinfo)
{
	struct endpoint *ep = heap_alloc(attr->heap, sizeof(*ep));
	uint64_t give_up_ns;
	int rc;

	if (!ep)
		return endpoint_explain(-ENOMEM, "connection", errinfo);
	ep->heap = attr->heap;
	ep->send_depth = attr->send_depth ? attr->send_depth : 1;
	ep->shake.deadline_ns = attr->deadline_ns;
	ep->shake.cancel_fd = attr->cancel_fd;
	ep->path = *path;
	rc = handshake_resolve(&ep->shake, path, attr->device, errinfo);
	if (rc == 0)
		rc = choose_domain(ep, attr->domain, errinfo);
	if (rc == 0)
		rc = create_queues(ep, errinfo);
	give_up_ns = clock_boot_ns() + patience_ns;
	if (give_up_ns < attr->deadline_ns)
		ep->shake.deadline_ns = give_up_ns;
	if (rc == 0)
		rc = handshake_connect(&ep->shake, attr->purpose, errinfo);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	ep->connected = true;
	*out = ep;
	return 0;
}

static uint64_t left_ns(const struct endpoint_attr *attr)
{
	const uint64_t now = clock_boot_ns();

	return attr->deadline_ns > now ? attr->deadline_ns - now : 0;
}

/* Ask until there is an answer. The server sees that a request was given up before it does much for it. */
static int try_path(const struct endpoint_attr *attr, const struct target_path *path,
	struct endpoint **out, struct errinfo *errinfo)
{
	uint64_t left = left_ns(attr), patience = left / FIRST_ATTEMPT;
	unsigned stale = 0;
	int rc;

	if (patience < ATTEMPT_MIN_NS)
		patience = ATTEMPT_MIN_NS;
	if (patience > ATTEMPT_MAX_NS)
		patience = ATTEMPT_MAX_NS;
	do {
		/* The last gets the rest: making and unmaking what it takes is not free. */
		rc = attempt(attr, path, left < 2 * patience ? left : patience, out, errinfo);
		stale += rc == -EAGAIN;
		left = left_ns(attr);
		patience += patience / 4; /* it may be slow, and not have lost anything */
	} while ((rc == -ETIMEDOUT && left) || (rc == -EAGAIN && stale < STALE_MAX));
	return rc;
}

/* Whatever a device or the kernel answers: callers know these. errinfo says what it was. */
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
	case -EPERM:
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

int endpoint_connect(
	const struct endpoint_attr *attr, struct endpoint **out, struct errinfo *errinfo)
{
	int rc = -EHOSTUNREACH;

	for (int i = 0; i < attr->npaths; i++) {
		rc = try_path(attr, &attr->paths[i], out, errinfo);
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
	cq_destroy(&ep->send);
	cq_destroy(&ep->receive);
	if (ep->mr)
		ibv_dereg_mr(ep->mr);
	heap_free(ep->heap, ep->buffers, ENDPOINT_BUFFER_BYTES);
	domain_release(ep->domain);
	handshake_destroy(&ep->shake);
	heap_free(ep->heap, ep, sizeof(*ep));
}

void endpoint_break(struct endpoint *ep)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (!atomic_exchange(&ep->port.broken, true))
		(void)ibv_modify_qp(ep->shake.id->qp, &attr, IBV_QP_STATE);
}

/* False only if there is none: librdmacm calls malloc() before it looks, which a wait need not do. */
static bool may_have_event(const struct endpoint *ep)
{
	struct pollfd fd = { .fd = ep->shake.channel->fd, .events = POLLIN };

	return poll(&fd, 1, 0) != 0;
}

/* Without a lock of ours, because of that malloc(). librdmacm hands each event to one thread. */
int endpoint_watch(struct endpoint *ep)
{
	struct rdma_cm_event *event;

	while (may_have_event(ep) && rdma_get_cm_event(ep->shake.channel, &event) == 0) {
		enum rdma_cm_event_type type = event->event;

		rdma_ack_cm_event(event);
		log_debug("connection to %s: %s", ep->shake.peer, rdma_event_str(type));
		/* Neither moves the queue pair by itself. */
		if (type == RDMA_CM_EVENT_DISCONNECTED || type == RDMA_CM_EVENT_DEVICE_REMOVAL)
			endpoint_break(ep);
	}
	return endpoint_broken(ep) ? -ECONNRESET : 0;
}

int endpoint_reset(const struct endpoint *ep, struct errinfo *errinfo)
{
	return errinfo_set(
		errinfo, -ECONNRESET, "the connection to rmemd at %s broke", ep->shake.peer);
}

int endpoint_explain_refusal(struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EPERM,
		"the kernel lets this process send nothing any more, because its credentials "
		"(setuid, setgid, capabilities) have changed since it opened the RDMA device: "
		"change them before the first rmem_open()");
}

int endpoint_post(struct endpoint *ep, struct ibv_send_wr *list, struct ibv_send_wr **bad,
	struct errinfo *errinfo)
{
	int rc;

	*bad = list;
	if (endpoint_broken(ep))
		return endpoint_reset(ep, errinfo);
	rc = ibv_post_send(ep->shake.id->qp, list, bad);
	if (rc) {
		endpoint_break(ep);
		/* Soft-RoCE posts by write(2), which the kernel checks (ib_safe_file_access()). */
		return endpoint_is_refusal(rc) ? endpoint_explain_refusal(errinfo)
					       : endpoint_reset(ep, errinfo);
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

/*
 * Spinning has found nothing. Never inlined: what it takes is not an operation's work, and
 * tests/instructions/count knows it by its name.
 */
static __attribute__((noinline)) int sleep_for(
	struct endpoint *ep, struct cq *q, struct ibv_wc *wc, int max, const struct cq_sleep *how)
{
	int n;

	do {
		n = cq_sleep(q, wc, max, how);
		if (n <= 0)
			endpoint_watch(ep);
	} while (n == 0);
	cq_slept(q, n > 0);
	return n;
}

int endpoint_completions(struct endpoint *ep, struct cq *q, struct ibv_wc *wc, int max,
	uint64_t deadline_ns, int cancel_fd)
{
	const struct cq_sleep how = { ep->shake.channel->fd, cancel_fd, deadline_ns, false };
	int n = cq_spin(q, wc, max, deadline_ns);

	return n ? n : sleep_for(ep, q, wc, max, &how);
}

/* None came soon: wait for what is on its way, and stop the connection if it does not come. */
static int reap_late(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t limit_ns)
{
	const bool flushing = endpoint_broken(ep);
	struct cq_sleep how = { ep->shake.channel->fd, -1, 0, false };
	int n;

	/*
	 * Of a list of which the device took only the beginning, none may be signaled, and those that had
	 * succeeded before the queue pair was stopped say nothing. So this may wait in vain.
	 */
	if (flushing && limit_ns > FLUSH_LIMIT_NS)
		limit_ns = FLUSH_LIMIT_NS;
	how.deadline_ns = clock_boot_ns() + limit_ns;
	n = sleep_for(ep, &ep->send, wc, max, &how);
	if (n == -ETIMEDOUT && !flushing) {
		endpoint_break(ep);
		n = endpoint_completions(
			ep, &ep->send, wc, max, clock_boot_ns() + FLUSH_LIMIT_NS, -1);
	}
	return n;
}

int endpoint_reap(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t limit_ns)
{
	int n = cq_spin(&ep->send, wc, max, UINT64_MAX);

	/* Most come soon: without the clock, which costs more than all the rest. */
	if (n == 0)
		n = reap_late(ep, wc, max, limit_ns);
	if (n < 0) {
		/* The device does not even flush: destroying the queue pair will end it. */
		endpoint_break(ep);
		return -ECONNRESET;
	}
	return note_failures(ep, wc, n);
}

int endpoint_wait(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t deadline_ns,
	uint64_t limit_ns, bool interruptible)
{
	struct cq_sleep how = { ep->shake.channel->fd, -1, deadline_ns, interruptible };
	uint64_t until;
	int n = cq_spin(&ep->send, wc, max, deadline_ns);

	if (n == 0) {
		until = clock_boot_ns() + limit_ns;
		how.deadline_ns = deadline_ns < until ? deadline_ns : until;
		n = sleep_for(ep, &ep->send, wc, max, &how);
	}
	if (n == -ETIMEDOUT)
		return 0;
	if (n == -EINTR)
		return n;
	if (n < 0) {
		endpoint_break(ep);
		return -ECONNRESET;
	}
	return note_failures(ep, wc, n);
}

int endpoint_poll(struct endpoint *ep, struct ibv_wc *wc, int max)
{
	int n = ibv_poll_cq(ep->send.ibv, max, wc);

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
	return ibv_req_notify_cq(ep->send.ibv, 0) ? -EIO : 0;
}

void endpoint_disarm(struct endpoint *ep)
{
	cq_drain(&ep->send);
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

bool endpoint_keeps_apart(const struct endpoint *ep)
{
	return ep->keeps_apart;
}

bool endpoint_is_ready(const struct endpoint *ep)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	return ibv_query_qp(ep->port.qp, &attr, IBV_QP_STATE, &init) == 0 &&
	       attr.qp_state == IBV_QPS_RTS;
}

uint32_t endpoint_send_depth(const struct endpoint *ep)
{
	return ep->send_depth;
}

const struct target_path *endpoint_path(const struct endpoint *ep)
{
	return &ep->path;
}

const char *endpoint_peer(const struct endpoint *ep)
{
	return ep->shake.peer;
}
