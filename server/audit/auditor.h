/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When audits happen: on a timer, and on demand with two scans a moment apart. They are made beside the event loop
 * (server/audit/pass.h). What an audit means is in server/audit/audit.h. The event loop only.
 */
#ifndef RMEM_SERVER_AUDIT_AUDITOR_H
#define RMEM_SERVER_AUDIT_AUDITOR_H

#include <stdint.h>

#include "server/audit/audit.h"
#include "server/base/wait.h"

struct auditor;
struct event_base;
struct leases;
struct pool;
struct sites;

struct auditor_facts {
	uint64_t serial;      /* audits so far */
	uint64_t last_ns;     /* real time of the last */
	uint64_t duration_us; /* of its last scan, and what came of it */
};

int auditor_start(struct event_base *base, struct leases *leases, const struct sites *sites,
	struct auditor **out);
void auditor_stop(struct auditor *a); /* NULL is fine; nobody waits any more */

/*
 * An audit of a moment from now on. The wait ends with 0 or an error of pass_start(): from the loop, or before this
 * returns if not even the beginning succeeds.
 */
void auditor_wait(struct auditor *a, struct wait *w, void (*done)(struct wait *w, int result));

/* The result, while a wait is told 0; audit_result_hold() keeps it for longer. */
struct audit_result *auditor_result(const struct auditor *a);

struct auditor_facts auditor_facts(const struct auditor *a);

/* The last scan, or NULL; valid until the next one. */
const struct audit_scan *auditor_scan(const struct auditor *a);

/* The numbers of each node that the allocators know: for audits and reports. Returns how many. */
size_t auditor_nodes(const struct pool *pool, struct audit_node out[ADDR_MAX_NODES]);

#endif
