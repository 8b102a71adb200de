/* SPDX-License-Identifier: BSD-3-Clause */
/* The lists that a connection is in, and the request that it answers later: without a device, so that the simulation has them too. */
#include <stddef.h>
#include <utlist.h>

#include "common/clock.h"
#include "server/net/connection.h"

#define HELLO_WITHIN_NS (5 * NSEC_PER_SEC)
#define OBSERVER_IDLE_NS (60 * NSEC_PER_SEC)

void connection_move(struct connection *c, struct connection **list)
{
	if (c->list)
		DL_DELETE(*c->list, c);
	DL_APPEND(*list, c);
	c->list = list;
}

void connection_wait(struct connection *c, const struct header *h, struct wait **list,
	void (*done)(struct wait *w, int result))
{
	c->pending.active = true;
	c->pending.type = h->type;
	c->pending.seq = h->seq;
	wait_on(list, &c->pending.wait, done);
}

void connections_drop_idle(struct net *net, uint64_t now_ns)
{
	struct connection *c, *next;

	for (c = net->connections; c; c = next) {
		next = c->next;
		if (c->pending.active)
			continue;
		if (c->purpose == PURPOSE_OBSERVER && now_ns - c->active_ns > OBSERVER_IDLE_NS)
			connection_abort(c, "an idle observer");
		else if (c->purpose != PURPOSE_OBSERVER && now_ns - c->opened_ns > HELLO_WITHIN_NS)
			connection_abort(
				c, "no %s came", c->purpose == PURPOSE_CHANNEL ? "JOIN" : "HELLO");
	}
}

void connections_abort_all(struct net *net)
{
	while (net->connections)
		connection_abort(net->connections, "rmemd stops");
	while (net->controls)
		connection_abort(net->controls, "rmemd stops");
}

struct connection *connection_of_wait(struct wait *w)
{
	return (struct connection *)((char *)w - offsetof(struct connection, pending.wait));
}

struct header connection_take_pending(struct connection *c)
{
	c->pending.active = false;
	return (struct header){ .type = c->pending.type, .seq = c->pending.seq };
}
