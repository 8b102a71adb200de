/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd as a whole: it builds the rooms and owns the loop. One event loop runs everything, so there are no locks.
 *
 *	net ──▶ rpc ──▶ lease, grant, memory, ledger      what clients ask for
 *	tick ──▶ lease, audit                             what time does
 *	reaper ──▶ grant, lease, memory                   long work, in slices
 *	admin ──▶ audit, reports of all rooms             what operators ask for
 */
#ifndef RMEM_SERVER_SERVER_H
#define RMEM_SERVER_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/admin/view.h"
#include "server/base/options.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/lease/reaper.h"
#include "server/lease/reclaim.h"
#include "server/lease/session.h"
#include "server/ledger/history.h"
#include "server/ledger/sites.h"
#include "server/memory/datadir.h"
#include "server/memory/growth.h"
#include "server/memory/pool.h"
#include "server/net/net.h"
#include "server/rpc/handlers.h"

struct admin;
struct commands;
struct auditor;
struct listener;

struct server {
	struct options options;
	char host[64];
	struct event_base *base;
	struct event *tick_event;
	struct event *wiped_event; /* on pool.wiped_fd */
	struct event *grown_event; /* on growth.done_fd */
	struct event *signal_events[2];
	struct work work;
	struct datadir data;
	struct topology *topology;
	struct pool pool;
	struct growth growth;
	struct sites *sites;
	struct history *history;
	struct net net;
	struct access access;
	struct leases leases;
	struct reclaim reclaim;
	struct reaper reaper;
	struct rpc rpc;
	struct sources sources;
	struct listener *listener;
	struct auditor *auditor;
	struct commands *commands;
	struct admin *admin;
	bool started;        /* clients can have come */
	uint64_t checked_ns; /* when holders were last looked at */
};

/*
 * Check, map, register, probe, recover, listen. Reports progress in the log. On failure *why names
 * cause and remedy, and nothing is left open.
 */
int server_start(struct server *s, const struct options *options, struct errinfo *errinfo);

/* Serve until SIGTERM or SIGINT. 0, or a negative errno if the loop failed. */
int server_run(struct server *s);

/*
 * End every connection with its windows revoked, close everything. The data directory is removed if
 * nobody holds anything; otherwise it is kept for the next start. A half-started server is fine.
 */
void server_stop(struct server *s);

#endif
