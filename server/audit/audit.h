/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit: a pass over the ledger that gives every allocation a kind and proves that no byte is
 * missing (docs/AUDIT.md). A pure function of the state: same state, same result, same order.
 *
 * A scan classifies; two scans must agree before anything is called definite; what only one scan
 * saw is limbo ("definite 1/2 scans"). A session that is called dead without evidence is limbo too.
 */
#ifndef RMEM_SERVER_AUDIT_AUDIT_H
#define RMEM_SERVER_AUDIT_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/audit/finding.h"
#include "server/ledger/ledger.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"

struct audit_input {
	const struct ledger *ledger;
	const struct sessions *sessions;
	const struct sites *sites;
	uint64_t now_ns;
	uint64_t
		min_age_ns; /* younger allocations are left out of findings (not of conservation) */
	const struct audit_node *nodes; /* the three given numbers */
	size_t nnodes;
};

/* What one scan said about each allocation; compared with the next scan. */
struct audit_scan;
int audit_scan_create(const struct audit_input *in, struct audit_scan **out); /* -ENOMEM */
void audit_scan_destroy(struct audit_scan *s);                                /* NULL is fine */

/*
 * The kind of one allocation, as audit_run() would say; age does not matter here. What is being taken
 * back (REVOKING, QUARANTINE) is limbo. previous may be NULL.
 */
enum audit_kind audit_judge(const struct audit_input *in, const struct audit_scan *previous,
	const struct allocation *a);

/*
 * Conservation alone, by the ledger's own sums: the given nodes with those filled in, by node. A node that was not given
 * but is in the ledger is added, with nothing registered. Returns how many. O(nodes), and nothing is called miscounted.
 */
size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES]);

/* The same counted from the records, and compared with those sums. O(allocations). */
size_t audit_count_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES]);

/* previous may be NULL: then nothing is confirmed. -ENOMEM. */
int audit_run(
	const struct audit_input *in, const struct audit_scan *previous, struct audit_result **out);
void audit_result_destroy(struct audit_result *r); /* NULL is fine */

#endif
