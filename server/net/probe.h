/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protection is probed, not assumed: what does this device refuse? It is tried out on the device itself,
 * with pairs of queue pairs that are connected to each other, a type-2 window on one of each pair, and
 * accesses through the other one.
 *
 * Every trial has a pair and a window of its own (a refusal breaks the queue pairs) and shows first that
 * a read and a write inside the window work, so that "refused" is never a mere malfunction. Reads and
 * writes are tried, and a write counts as refused only if no byte has changed. A check is as bad as its
 * worst trial.
 *
 * Blocks the caller for some ten milliseconds; a device that does not answer costs seconds, not more.
 * Nothing is left behind on it.
 */
#ifndef RMEM_SERVER_NET_PROBE_H
#define RMEM_SERVER_NET_PROBE_H

#include <infiniband/verbs.h>
#include <netinet/in.h>

#include "common/errinfo.h"

enum probe_outcome {
	PROBE_FAILED, /* neither: could not be found out, see note */
	PROBE_REFUSED,
	PROBE_ALLOWED,
};

struct probe_result {
	/* The key on another queue pair than the one whose peer it was bound for. */
	enum probe_outcome other_queue_pair;
	/* The key after its invalidation was confirmed, or its window and region were destroyed. */
	enum probe_outcome revoked_key;
	/* A write through a window that is bound for reading only. */
	enum probe_outcome write_to_read_only;
	/* An address before, after or across the end of the window, but inside its region. */
	enum probe_outcome outside_window;
	/* The same of a region that is exactly as large as the window. */
	enum probe_outcome outside_region;
	/* ALLOWED is good: a region can have our remote addresses (common/addr.h) as its own. */
	enum probe_outcome remote_address;
	struct errinfo note; /* the last trial that FAILED, and how; else empty */
};

/*
 * addr is an IPv4 address of the device's port that is to be probed. A check that FAILED is still a
 * result. An error means that no check could be made:
 *	-EADDRNOTAVAIL	the device has no such address
 *	-EOPNOTSUPP	it has no type-2 windows that work
 *	-ENOMEM		also: RLIMIT_MEMLOCK is too small
 */
int probe_run(struct ibv_context *ctx, struct ibv_pd *pd, struct in_addr addr,
	struct probe_result *out, struct errinfo *errinfo);

const char *probe_outcome_name(enum probe_outcome outcome); /* "failed", "refused", "allowed" */

#endif
