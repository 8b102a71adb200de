/* SPDX-License-Identifier: BSD-3-Clause */
/* The lists that a connection is in, and the request that it answers later: without a device, so that the simulation has them too. */
#include <stddef.h>
#include <utlist.h>

#include "server/net/connection.h"

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

struct connection *connection_of_wait(struct wait *w)
{
	return (struct connection *)((char *)w - offsetof(struct connection, pending.wait));
}

struct header connection_take_pending(struct connection *c)
{
	c->pending.active = false;
	return (struct header){ .type = c->pending.type, .seq = c->pending.seq };
}
