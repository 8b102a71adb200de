/* SPDX-License-Identifier: BSD-3-Clause */
/* What reports may know about the running server (server/admin/report.h), gathered. The event loop only. */
#ifndef RMEM_SERVER_ADMIN_SNAPSHOT_H
#define RMEM_SERVER_ADMIN_SNAPSHOT_H

#include <netinet/in.h>

#include "server/admin/report.h"
#include "server/server.h"

struct view {
	struct report_view report;
	struct report_node nodes[ADDR_MAX_NODES];
	struct report_device devices[DEVICES_MAX];
	char addresses[DEVICES_MAX][INET_ADDRSTRLEN];
	char reclaim[24];
	struct server *server;
	uint64_t block_pages; /* that may still be asked for: everybody waits meanwhile */
};

/* Valid until the server's state changes; v must stay where it is. */
void view_fill(struct view *v, struct server *s);

#endif
