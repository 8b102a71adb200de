/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection manager's side of the server: one event channel, one listening id, and the events of
 * every connection. A peer is turned away here, with a reason it can read, before anything is kept for
 * it. The event loop only.
 */
#ifndef RMEM_SERVER_NET_LISTENER_H
#define RMEM_SERVER_NET_LISTENER_H

#include "common/errinfo.h"

struct listener;
struct net;
struct options;

int listener_start(
	struct net *net, const struct options *o, struct listener **out, struct errinfo *errinfo);
void listener_stop(struct listener *l); /* NULL is fine */

#endif
