/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/handshake.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

#include "common/clock.h"
#include "common/denial.h"
#include "common/verbs.h"

/* Reasons of an InfiniBand CM rejection (IBTA 12.6.7.2) that mean something to us. */
#define REJECT_NO_LISTENER 8
#define REJECT_STALE_CONNECTION 10
#define REJECT_CONSUMER 28

/* With an ack timeout of 4.096 us << 16 (0.27 s) a dead peer is known after about 1.6 s of 6 tries. */
#define ACK_TIMEOUT_EXPONENT 16
#define RETRIES 5 /* 7 would mean for ever */

#define BLIND_PAUSE_NS (10 * NSEC_PER_MSEC) /* where the kernel does not say what is readable */

/*
 * poll(2) refuses (EINVAL) to look at more descriptors than the process may have now, which may be fewer than it has:
 * RLIMIT_NOFILE can be lowered at any time. select(2) has no such limit, but cannot look at high numbers.
 */
static int select_instead(struct pollfd fds[], int n, int timeout_ms)
{
	struct timeval left = { timeout_ms / 1000, timeout_ms % 1000 * 1000L };
	int max = -1, found;
	fd_set readable;

	FD_ZERO(&readable);
	for (int i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd >= FD_SETSIZE)
			return -1;
		if (fds[i].fd >= 0)
			FD_SET(fds[i].fd, &readable);
		max = fds[i].fd > max ? fds[i].fd : max;
	}
	found = select(max + 1, &readable, NULL, NULL, &left);
	for (int i = 0; i < n && found > 0; i++)
		if (fds[i].fd >= 0 && FD_ISSET(fds[i].fd, &readable))
			fds[i].revents = POLLIN;
	return found;
}

/* 0; -EINTR; or -EBADF: it cannot be seen whether they are readable, or not of all of them. */
static int look(struct pollfd fds[], int n, int timeout_ms)
{
	int found = poll(fds, (nfds_t)n, timeout_ms);
	bool closed = false;

	if (found < 0 && errno != EINTR)
		found = select_instead(fds, n, timeout_ms);
	if (found < 0 && errno == EINTR)
		return -EINTR;
	for (int i = 0; i < n; i++)
		if (fds[i].revents & POLLNVAL) {
			fds[i].revents = 0;
			closed = true;
		}
	return closed || found < 0 ? -EBADF : 0;
}

static void pause_blindly(uint64_t left_ns)
{
	const struct timespec pause = {
		.tv_nsec = (long)(left_ns < BLIND_PAUSE_NS ? left_ns : BLIND_PAUSE_NS)
	};

	nanosleep(&pause, NULL);
}

int handshake_wait(int fd, int fd2, int cancel_fd, uint64_t deadline_ns)
{
	int rc;

	do {
		rc = handshake_wait_or_signal(fd, fd2, cancel_fd, deadline_ns);
	} while (rc == -EINTR);
	return rc;
}

int handshake_wait_or_signal(int fd, int fd2, int cancel_fd, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = cancel_fd, .events = POLLIN },
			{ .fd = fd, .events = POLLIN },
			{ .fd = fd2, .events = POLLIN },
		};
		uint64_t now = clock_boot_ns(), left_ms;
		int rc;

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		left_ms = (deadline_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
		rc = look(fds, 3, left_ms > 60000 ? 60000 : (int)left_ms);
		if (fds[0].revents)
			return -ECANCELED;
		if (fds[1].revents || fds[2].revents)
			return 0;
		if (rc == -EINTR)
			return rc;
		if (rc == 0)
			continue;
		/*
		 * The descriptors could not be watched: return early, so that the caller tries them itself. A caller without
		 * descriptors waits for the deadline only: go on.
		 */
		pause_blindly(deadline_ns - now);
		if (fd >= 0 || fd2 >= 0)
			return 0;
	}
}

/* The next event, to be acknowledged by the caller. */
static int next_event(
	struct handshake *h, struct rdma_cm_event **out, const char *doing, struct errinfo *errinfo)
{
	int rc = 0;

	while (rdma_get_cm_event(h->channel, out)) {
		if (errno != EAGAIN && errno != EINTR)
			return errinfo_set(errinfo, -errno,
				"the RDMA connection manager failed: %s", errinfo_errno(errno));
		rc = handshake_wait(h->channel->fd, -1, h->cancel_fd, h->deadline_ns);
		if (rc == -ETIMEDOUT)
			return errinfo_set(errinfo, rc,
				"%s did not answer in time while %s: is rmemd running there, and "
				"does UDP port 4791 get through? Or is one of the two machines too "
				"busy?",
				h->peer, doing);
		if (rc)
			return errinfo_set(errinfo, rc, "cancelled while %s", doing);
	}
	return 0;
}

static int unreachable(const struct handshake *h, int status, struct errinfo *errinfo)
{
	int rc = denial_of_devices(errinfo);

	if (rc)
		return rc;
	return errinfo_set(errinfo, -EHOSTUNREACH,
		"no RDMA route to %s (%s): is it up, and in a network of a local RDMA device "
		"('rdma link')?",
		h->peer, errinfo_errno(status < 0 ? -status : EHOSTUNREACH));
}

/* Wait for the event that ends a resolution step. */
static int expect_event(struct handshake *h, enum rdma_cm_event_type wanted, const char *doing,
	struct errinfo *errinfo)
{
	struct rdma_cm_event *event;
	enum rdma_cm_event_type got;
	int status, rc;

	rc = next_event(h, &event, doing, errinfo);
	if (rc)
		return rc;
	got = event->event;
	status = event->status;
	rdma_ack_cm_event(event);
	return got == wanted ? 0 : unreachable(h, status, errinfo);
}

static int left_ms(const struct handshake *h)
{
	uint64_t now = clock_boot_ns();
	uint64_t ms = h->deadline_ns > now ? (h->deadline_ns - now) / NSEC_PER_MSEC : 0;

	return ms < 1 ? 1 : ms > 60000 ? 60000 : (int)ms;
}

static int open_channel(struct handshake *h, struct errinfo *errinfo)
{
	int rc;

	h->channel = rdma_create_event_channel();
	if (!h->channel) {
		rc = verbs_errno();
		if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
			return denial_explain(
				DENIED_DEVICE, rc, "rdma_create_event_channel", errinfo);
		(void)denial_explain(
			DENIED_DEVICE, rc, "the RDMA connection manager cannot be used", errinfo);
		return -ENODEV;
	}
	rc = verbs_set_nonblocking(h->channel->fd);
	if (rc)
		return errinfo_set(errinfo, rc, "fcntl: %s", errinfo_errno(-rc));
	if (rdma_create_id(h->channel, &h->id, NULL, RDMA_PS_TCP)) {
		return denial_explain(DENIED_DEVICE, verbs_errno(), "rdma_create_id", errinfo);
	}
	return 0;
}

int handshake_resolve(struct handshake *h, const struct target_path *path, const char *device,
	struct errinfo *errinfo)
{
	struct sockaddr_storage source = path->source, destination = path->destination;
	uint8_t ack_timeout = ACK_TIMEOUT_EXPONENT;
	int rc;

	target_format(&destination, h->peer);
	rc = open_channel(h, errinfo);
	if (rc)
		return rc;
	if (rdma_resolve_addr(h->id, source.ss_family ? (struct sockaddr *)&source : NULL,
		    (struct sockaddr *)&destination, left_ms(h)))
		return unreachable(h, -errno, errinfo);
	rc = expect_event(h, RDMA_CM_EVENT_ADDR_RESOLVED, "looking for its address", errinfo);
	if (rc)
		return rc;
	if (!h->id->verbs)
		return unreachable(h, -ENODEV, errinfo);
	if (device && strcmp(ibv_get_device_name(h->id->verbs->device), device) != 0)
		return errinfo_set(errinfo, -EHOSTUNREACH,
			"%s is reached by RDMA device %s, not by %s", h->peer,
			ibv_get_device_name(h->id->verbs->device), device);
	/* Some devices do not have the option: then a dead peer is noticed later. */
	(void)rdma_set_option(h->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout,
		sizeof(ack_timeout));
	if (rdma_resolve_route(h->id, left_ms(h)))
		return unreachable(h, -errno, errinfo);
	return expect_event(h, RDMA_CM_EVENT_ROUTE_RESOLVED, "looking for a route", errinfo);
}

bool handshake_is_local(const struct handshake *h)
{
	const struct sockaddr_in *here = (const void *)rdma_get_local_addr(h->id);
	const struct sockaddr_in *there = (const void *)rdma_get_peer_addr(h->id);

	return here->sin_family == AF_INET && there->sin_family == AF_INET &&
	       here->sin_addr.s_addr == there->sin_addr.s_addr;
}

/* The peer's preamble, if the private data holds one. */
static bool get_preamble(const struct rdma_cm_event *event, struct preamble *out)
{
	uint8_t data[PREAMBLE_SIZE];
	struct wire w = wire_over(data, sizeof(data));

	if (event->param.conn.private_data_len < PREAMBLE_SIZE || !event->param.conn.private_data)
		return false;
	memcpy(data, event->param.conn.private_data, sizeof(data));
	preamble_get(&w, out);
	return wire_finish(&w) == 0 && out->magic == PROTOCOL_MAGIC;
}

static int wrong_version(
	const struct handshake *h, const struct preamble *p, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EPROTO,
		"rmemd at %s speaks protocol version %u, this side speaks version %u: install the "
		"same release on both",
		h->peer, p->version, PROTOCOL_VERSION);
}

/* Does the rejection carry nothing? The connection manager fills up with zeroes. */
static bool is_silent(const struct rdma_cm_event *event)
{
	const uint8_t *data = event->param.conn.private_data;

	for (int i = 0; data && i < event->param.conn.private_data_len; i++)
		if (data[i])
			return false;
	return true;
}

/* Without a preamble. */
static int judge_foreign_rejection(
	const struct handshake *h, const struct rdma_cm_event *event, struct errinfo *errinfo)
{
	if (event->status != REJECT_CONSUMER)
		return errinfo_set(errinfo, -ECONNREFUSED,
			"%s rejected the connection (reason %d of its RDMA connection manager)",
			h->peer, event->status);
	/* What the kernel says for a process that has the request and ends. */
	if (is_silent(event))
		return errinfo_set(errinfo, -ECONNRESET,
			"%s rejected the connection without a word: rmemd has just ended there, or "
			"it is not rmemd that listens; try again",
			h->peer);
	return errinfo_set(errinfo, -EPROTO,
		"%s rejected the connection: something listens there, but it is not rmemd",
		h->peer);
}

static int judge_rejection(
	const struct handshake *h, const struct rdma_cm_event *event, struct errinfo *errinfo)
{
	struct preamble p;

	if (event->status == REJECT_NO_LISTENER || event->status == -ECONNREFUSED ||
		event->status == ECONNREFUSED)
		return errinfo_set(errinfo, -ECONNREFUSED,
			"nobody listens at %s: start rmemd there, or name its port", h->peer);
	if (event->status == REJECT_STALE_CONNECTION)
		return errinfo_set(
			errinfo, -EAGAIN, "%s still holds an earlier connection", h->peer);
	if (event->status != REJECT_CONSUMER || !get_preamble(event, &p))
		return judge_foreign_rejection(h, event, errinfo);
	if (p.status == -EPROTONOSUPPORT || p.version != PROTOCOL_VERSION)
		return wrong_version(h, &p, errinfo);
	if (p.status == -EUSERS)
		return errinfo_set(
			errinfo, -EUSERS, "rmemd at %s has all the clients it can keep", h->peer);
	return errinfo_set(errinfo, p.status < 0 && p.status > -4096 ? p.status : -EPROTO,
		"rmemd at %s rejected the connection: %s", h->peer,
		p.status < 0 && p.status > -4096 ? errinfo_errno(-p.status) : "without a reason");
}

static int judge_connected(
	const struct handshake *h, const struct rdma_cm_event *event, struct errinfo *errinfo)
{
	struct preamble p;

	switch (event->event) {
	case RDMA_CM_EVENT_ESTABLISHED:
		if (!get_preamble(event, &p))
			return errinfo_set(
				errinfo, -EPROTO, "%s accepted, but it is not rmemd", h->peer);
		return p.version == PROTOCOL_VERSION ? 0 : wrong_version(h, &p, errinfo);
	case RDMA_CM_EVENT_REJECTED:
		return judge_rejection(h, event, errinfo);
	case RDMA_CM_EVENT_UNREACHABLE:
		return errinfo_set(errinfo, -ETIMEDOUT, "%s does not answer", h->peer);
	default:
		return errinfo_set(errinfo, -ECONNRESET, "connecting to %s failed: %s (%d)",
			h->peer, rdma_event_str(event->event), event->status);
	}
}

int handshake_connect(struct handshake *h, enum purpose purpose, struct errinfo *errinfo)
{
	struct preamble p = {
		.magic = PROTOCOL_MAGIC,
		.version = PROTOCOL_VERSION,
		.purpose = (uint8_t)purpose,
	};
	uint8_t data[PREAMBLE_SIZE];
	struct wire w = wire_over(data, sizeof(data));
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = sizeof(data),
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES,
	};
	struct ibv_device_attr device;
	struct rdma_cm_event *event;
	int rc;

	preamble_put(&w, &p);
	rc = verbs_err(ibv_query_device(h->id->verbs, &device));
	if (rc)
		return errinfo_set(errinfo, rc, "ibv_query_device: %s", errinfo_errno(-rc));
	param.initiator_depth =
		(uint8_t)(device.max_qp_init_rd_atom < UINT8_MAX ? device.max_qp_init_rd_atom
								 : UINT8_MAX);
	if (rdma_connect(h->id, &param)) {
		rc = verbs_errno();
		return errinfo_set(
			errinfo, rc, "rdma_connect to %s: %s", h->peer, errinfo_errno(-rc));
	}
	rc = next_event(h, &event, "connecting", errinfo);
	if (rc)
		return rc;
	rc = judge_connected(h, event, errinfo);
	rdma_ack_cm_event(event);
	return rc;
}

void handshake_destroy(struct handshake *h)
{
	if (h->id)
		rdma_destroy_id(h->id);
	if (h->channel)
		rdma_destroy_event_channel(h->channel);
	h->id = NULL;
	h->channel = NULL;
}
