/* SPDX-License-Identifier: BSD-3-Clause */
/* Gathers the reports' view of the running server (server/admin/report_view.h). The event loop only. */
#ifndef RMEM_SERVER_ADMIN_VIEW_H
#define RMEM_SERVER_ADMIN_VIEW_H

#include <netinet/in.h>

#include "server/admin/report.h"
#include "server/net/net.h"

struct access;
struct auditor;
struct growth;
struct history;
struct leases;
struct options;
struct reclaim;
struct rpc;
struct sites;

/* The rooms that reports describe. */
struct sources {
	const struct options *options;
	const char *host;
	struct net *net;
	struct access *access;
	struct leases *leases;
	struct reclaim *reclaim;
	struct sites *sites;
	struct history *history;
	struct rpc *rpc;
	struct growth *growth;
	struct auditor *auditor;
};

struct view {
	struct report_view report;
	struct report_node nodes[ADDR_MAX_NODES];
	struct report_segment segments[SEGMENTS_MAX];
	struct report_device devices[DEVICES_MAX];
	char addresses[DEVICES_MAX][INET_ADDRSTRLEN];
	char reclaim[24];
	const struct sources *from;
};

/* Valid until the server's state changes. Neither *v nor *from may move. */
void view_fill(struct view *v, const struct sources *from);

#endif
