/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit: a pass over the ledger that gives every allocation a kind and proves that no byte is
 * missing (docs/AUDIT.md). A pure function of the state at one moment: same state, same result, same order.
 *
 * A scan classifies; two scans must agree before anything is called definite; what only one scan
 * saw is limbo ("definite 1/2 scans"). A session that is called dead without evidence is limbo too.
 *
 * audit_begin() copies what it needs of everything but the allocations, which are then given in pieces. So the caller can
 * fetch them from a snapshot, and another thread can count them.
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
void audit_scan_destroy(struct audit_scan *s); /* NULL is fine */

enum audit_depth {
	AUDIT_SCAN, /* for the next audit to be compared with: a few times faster */
	AUDIT_FULL,
};

/*
 * An audit of the state as it is now. It does not keep *in. previous is what it is compared with, and must outlive the
 * audit; NULL: nothing is confirmed. O(sessions + sites). -ENOMEM.
 */
struct audit;
int audit_begin(const struct audit_input *in, const struct audit_scan *previous,
	enum audit_depth depth, struct audit **out);

/*
 * n records of the state at the beginning, and their slots: every one that is not FREE exactly once, in any order; by
 * slot is fastest. Touches nothing but the audit and previous. Without memory for it, audit_end() fails.
 */
void audit_add(struct audit *a, const uint32_t *slots, const struct allocation *records, size_t n);

/* When all have been added: what the audit comes to; out_result is NULL for a mere scan. -ENOMEM. Ends a. */
int audit_end(struct audit *a, struct audit_scan **out_scan, struct audit_result **out_result);
void audit_abandon(struct audit *a); /* NULL is fine */

/*
 * The kind of one allocation, as an audit would say now; age does not matter here. What is being taken
 * back (REVOKING, QUARANTINE) is limbo. previous may be NULL.
 */
enum audit_kind audit_judge(const struct audit_input *in, const struct audit_scan *previous,
	const struct allocation *a);

/*
 * Conservation alone, by the ledger's own sums: the given nodes with those filled in, by node. A node that was not given
 * but is in the ledger is added, with nothing registered. Returns how many. O(nodes); only an audit compares these sums with
 * the records.
 */
size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES]);

/* It has one holder at first, and is freed with the last. One thread at a time. */
struct audit_result *audit_result_hold(struct audit_result *r);
void audit_result_release(struct audit_result *r); /* NULL is fine */

#endif
