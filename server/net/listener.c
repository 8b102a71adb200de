/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/message.h"
#include "common/denial.h"
#include "common/verbs.h"
#include "server/net/connection.h"
#include "server/base/destroy.h"

#define BACKLOG 128
#define EVENTS_PER_TURN 16 /* a new connection may take a millisecond */

struct listener {
	struct net *net;
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct event *event;
};

/* Turn a peer away; the preamble tells it why, in a form every version can read. */
static void turn_away(struct rdma_cm_id *id, int status)
{
	const struct preamble preamble = {
		.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .status = status
	};
	uint8_t data[PREAMBLE_SIZE];
	struct wire w = wire_over(data, sizeof(data));

	preamble_put(&w, &preamble);
	if (rdma_reject(id, data, sizeof(data)))
		log_debug("a rejection was not sent: %s", strerror(errno));
}

static bool has_no_room(const struct net *net, enum purpose purpose)
{
	if (purpose == PURPOSE_CHANNEL)
		return net->nchannels >= net->max_channels;
	if (purpose == PURPOSE_OBSERVER)
		return net->nobservers >= net->max_observers;
	return net->nconnections - net->nobservers >= net->max_connections;
}

/* 0, or why this peer cannot be served. */
static int check_preamble(
	const struct net *net, const struct rdma_conn_param *asked, enum purpose *out)
{
	struct preamble preamble;
	struct wire w;

	if (!asked->private_data || asked->private_data_len < PREAMBLE_SIZE)
		return -EPROTO;
	w = wire_over((void *)asked->private_data, PREAMBLE_SIZE);
	preamble_get(&w, &preamble);
	if (preamble.magic != PROTOCOL_MAGIC)
		return -EPROTO;
	if (preamble.version != PROTOCOL_VERSION)
		return -EPROTONOSUPPORT;
	if (preamble.purpose < PURPOSE_SESSION || preamble.purpose > PURPOSE_CHANNEL)
		return -EPROTO;
	if (has_no_room(net, (enum purpose)preamble.purpose))
		return -EUSERS;
	*out = (enum purpose)preamble.purpose;
	return 0;
}

static struct device *find_device(struct net *net, const struct ibv_context *verbs)
{
	for (unsigned i = 0; i < net->ndevices; i++) {
		if (net->devices[i].verbs == verbs)
			return &net->devices[i];
	}
	return NULL;
}

/*
 * Has the peer given up waiting? No event tells it before the id is accepted, but the connection manager then has no
 * attributes for the queue pair. On an overloaded server most queued requests are such; skipping them leaves time for
 * the others.
 */
static bool has_given_up(struct rdma_cm_id *id)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT };
	int mask;

	return rdma_init_qp_attr(id, &attr, &mask) != 0;
}

/* True if the id now belongs to a connection. */
static bool on_request(struct net *net, struct rdma_cm_id *id, const struct rdma_conn_param *asked)
{
	struct device *d = find_device(net, id->verbs);
	enum purpose purpose = PURPOSE_SESSION;
	int err = d ? check_preamble(net, asked, &purpose) : -ENODEV;
	bool late = has_given_up(id);

	if (!err && !late)
		err = connection_accept(net, d, id, asked, purpose);
	late |= err && has_given_up(id);
	if (late) {
		log_debug("a peer gave up before it was accepted");
		return false;
	}
	if (err) {
		log_warn("a peer was turned away: %s", strerror(-err));
		turn_away(id, err);
		return false;
	}
	return true;
}

static void on_event(struct listener *l, const struct rdma_cm_event *event)
{
	struct connection *c = event->id->context;

	if (!c && event->id != l->id)
		return; /* refused, but its id could not be destroyed */
	switch (event->event) {
	case RDMA_CM_EVENT_ESTABLISHED:
		connection_established(c);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		connection_abort(c, "the peer disconnected");
		break;
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
		connection_abort(c, "it was not completed (%s, status %d)",
			rdma_event_str(event->event), event->status);
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		log_error("an RDMA device is being removed: its clients lose their connections");
		if (event->id != l->id)
			connection_abort(c, "its device is removed");
		break;
	default:
		log_debug("CM event %s", rdma_event_str(event->event));
		break;
	}
}

/* Copies what it needs and acknowledges at once: an id cannot go while an event of it is held. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	struct rdma_cm_event *event;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < EVENTS_PER_TURN; i++) {
		struct rdma_cm_id *refused = NULL;

		if (rdma_get_cm_event(l->channel, &event))
			break;
		if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
			if (!on_request(l->net, event->id, &event->param.conn))
				refused = event->id;
		} else {
			on_event(l, event);
		}
		rdma_ack_cm_event(event);
		if (refused)
			DESTROY("the id of a refused peer", rdma_destroy_id(refused));
	}
}

static int bind_address(const struct options *o, struct sockaddr_in *out, struct errinfo *errinfo)
{
	*out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(o->port) };
	if (o->bind && inet_pton(AF_INET, o->bind, &out->sin_addr) != 1)
		return errinfo_set(
			errinfo, -EINVAL, "--bind %s: an IPv4 address is needed", o->bind);
	return 0;
}

/* Is it the address of an RDMA device, whatever ports are taken? */
static bool can_bind(const struct listener *l, struct sockaddr_in address)
{
	struct rdma_cm_id *id;
	bool can;

	address.sin_port = 0;
	if (rdma_create_id(l->channel, &id, NULL, RDMA_PS_TCP))
		return false;
	can = rdma_bind_addr(id, (struct sockaddr *)&address) == 0;
	DESTROY("an id", rdma_destroy_id(id));
	return can;
}

static int listen_on(struct listener *l, const struct options *o, struct errinfo *errinfo)
{
	const char *where = o->bind ? o->bind : "all RDMA addresses";
	struct sockaddr_in address;
	int err = bind_address(o, &address, errinfo);

	if (err)
		return err;
	if (rdma_create_id(l->channel, &l->id, NULL, RDMA_PS_TCP))
		return denial_explain(DENIED_DEVICE, verbs_errno(), "rdma_create_id", errinfo);
	if (rdma_bind_addr(l->id, (struct sockaddr *)&address) || rdma_listen(l->id, BACKLOG)) {
		err = verbs_errno();
		/* What the kernel says too when one of the two listens on all addresses. */
		if (err == -EADDRNOTAVAIL && can_bind(l, address))
			err = -EADDRINUSE;
		if (err == -EADDRINUSE)
			return errinfo_set(errinfo, err,
				"port %u is in use on %s: another rmemd? Choose another with "
				"--port",
				o->port, where);
		if (err == -EADDRNOTAVAIL || err == -ENODEV)
			return errinfo_set(errinfo, err,
				"%s is not the address of an RDMA device here: see rdma link, ip "
				"addr",
				where);
		return errinfo_set(errinfo, err, "cannot listen on %s port %u: %s", where, o->port,
			strerror(-err));
	}
	return 0;
}

int listener_start(
	struct net *net, const struct options *o, struct listener **out, struct errinfo *errinfo)
{
	struct listener *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	l->net = net;
	l->channel = rdma_create_event_channel();
	if (!l->channel) {
		err = denial_explain(DENIED_DEVICE, verbs_errno(),
			"the RDMA connection manager cannot be used", errinfo);
		goto fail;
	}
	err = verbs_set_nonblocking(l->channel->fd);
	if (err)
		errinfo_set(errinfo, err, "fcntl: %s", strerror(-err));
	else
		err = listen_on(l, o, errinfo);
	if (err)
		goto fail;
	l->event = event_new(net->base, l->channel->fd, EV_READ | EV_PERSIST, on_readable, l);
	if (!l->event || event_add(l->event, NULL)) {
		err = errinfo_set(errinfo, -ENOMEM, "out of memory");
		goto fail;
	}
	*out = l;
	return 0;
fail:
	listener_stop(l);
	return err;
}

void listener_stop(struct listener *l)
{
	if (!l)
		return;
	if (l->event)
		event_free(l->event);
	if (l->id)
		DESTROY("the listening id", rdma_destroy_id(l->id));
	if (l->channel)
		rdma_destroy_event_channel(l->channel);
	free(l);
}
