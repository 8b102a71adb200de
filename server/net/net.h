/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices that rmemd serves and every connection on them. This room knows messages, not their meaning: what
 * arrives goes to the functions in struct net_events. The event loop only.
 */
#ifndef RMEM_SERVER_NET_NET_H
#define RMEM_SERVER_NET_NET_H

#include <stddef.h>
#include <stdint.h>

#include "server/net/device.h"

#define DEVICES_MAX 16

struct connection;
struct event_base;
struct grant;
struct work;

struct net_events {
	/* A message arrived. It is answered now or later, or the connection is aborted. */
	void (*message)(struct connection *c, uint8_t *message, size_t bytes);
	/* The invalidation of this grant's window has completed. */
	void (*invalidated)(struct grant *g);
};

struct net {
	struct event_base *base;
	const struct work *work;         /* woken for connections that are being torn down */
	const struct net_events *events; /* set before the first connection */
	void *context;                   /* theirs */
	struct device devices[DEVICES_MAX];
	unsigned ndevices;
	struct connection *connections; /* open ones that are no session's, or not yet */
	struct connection *controls;    /* open control connections of sessions */
	struct connection *dying;       /* being torn down */
	struct connection *zombies;     /* could not be torn down: they stay until rmemd ends */
	unsigned nconnections, nobservers;
	unsigned max_connections; /* of sessions */
	unsigned max_channels;    /* of all sessions, and those that have not joined one yet */
	unsigned max_observers;
	unsigned nchannels;  /* until they are torn down */
	uint64_t region_max; /* bytes that a region may have on every device */
};

#endif
