/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Schedules audits (server/audit/audit.h): on a timer, and on demand with two scans 50 ms apart. Each runs beside the
 * event loop (server/audit/pass.h). The event loop only.
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
	uint64_t last_ns;     /* server time of the last one */
	uint64_t duration_us; /* of its last scan, merging included */
};

int auditor_start(struct event_base *base, struct leases *leases, const struct sites *sites,
	struct auditor **out);
void auditor_stop(struct auditor *a); /* NULL is fine; requires that no wait is left */

/*
 * Request an audit of the state now or later. done() gets 0 or an error of pass_start(): from the loop, or before this
 * returns if the audit cannot begin.
 */
void auditor_wait(struct auditor *a, struct wait *w, void (*done)(struct wait *w, int result));

/*
 * The last audit of which two scans agree, a timed one or one on demand; NULL: none yet. Valid until the next one ends;
 * audit_result_hold() keeps it longer.
 */
struct audit_result *auditor_last(const struct auditor *a);
/* An operator has taken memory away: the last audit does not describe what is there any more. */
void auditor_forget(struct auditor *a);

/* Valid only within a done() that got 0; audit_result_hold() keeps the result longer. */
struct audit_result *auditor_result(const struct auditor *a);

struct auditor_facts auditor_facts(const struct auditor *a);

/* The last scan, or NULL; valid until the next one ends. */
const struct audit_scan *auditor_scan(const struct auditor *a);

/* Registered and free bytes of each node, for audits and reports. Returns the number of nodes. */
size_t auditor_nodes(const struct pool *pool, struct audit_node out[ADDR_MAX_NODES]);

#endif
