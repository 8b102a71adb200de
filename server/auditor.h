/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When audits happen: on a timer, and on demand with two scans a moment apart. What an audit means is
 * in core/audit.h. The event loop only.
 */
#ifndef RMEM_SERVER_AUDITOR_H
#define RMEM_SERVER_AUDITOR_H

#include <stdint.h>

#include "core/audit.h"

struct auditor;
struct server;

struct auditor_facts {
	uint64_t serial;      /* audits so far */
	uint64_t last_ns;     /* real time of the last */
	uint64_t duration_us; /* of its scans */
};

/* result is NULL when there was no memory for it; it is valid during the call only. */
typedef void (*auditor_fn)(void *arg, const struct audit_result *result);

int auditor_start(struct server *s, struct auditor **out);
void auditor_stop(struct auditor *a); /* NULL is fine */

/* Audit now; done() is called later, from the loop. 0 or -ENOMEM. */
int auditor_ask(struct auditor *a, auditor_fn done, void *arg);

/* arg is going away. */
void auditor_cancel(struct auditor *a, void *arg);

struct auditor_facts auditor_facts(const struct auditor *a);

/* The last scan, or NULL; valid until the next one. */
const struct audit_scan *auditor_scan(const struct auditor *a);

/* The numbers of each node that the allocators know: for audits and reports. Returns how many. */
size_t auditor_nodes(struct server *s, struct audit_node out[ADDR_MAX_NODES]);

#endif
