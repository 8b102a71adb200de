/* SPDX-License-Identifier: BSD-3-Clause */
/* The devices that rmemd serves: found, probed, given the pool, watched. The event loop only,
 * but where it says otherwise. */
#ifndef RMEM_SERVER_NET_DEVICES_H
#define RMEM_SERVER_NET_DEVICES_H

#include "server/memory/pool.h"
#include "server/net/net.h"

/* Open and probe the devices that the options mean. -ENODEV, or what denies them. */
int devices_open(struct net *net, const struct options *o, struct errinfo *errinfo);

/* Let them reach the pool: all segments at the same time, with progress. For the start. */
int devices_register(struct net *net, const struct pool *pool, struct errinfo *errinfo);

/* One segment, as device_register() and device_unregister(). Any thread. */
int devices_register_segment(struct net *net, const struct segment *s, struct progress *progress,
	struct errinfo *errinfo);
void devices_unregister_segment(struct net *net, unsigned number);

/* Handle their completions in the loop net->base. -ENOMEM. */
int devices_watch(struct net *net);

/* No connection must be left but zombies. Half-open is fine. */
void devices_close(struct net *net);

#endif
