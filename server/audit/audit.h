/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Audit: one pass over the ledger classifies every allocation and checks that no byte is missing (docs/AUDIT.md).
 * Pure: the same state gives the same result in the same order.
 *
 * An allocation is definite only if two consecutive scans say so. If only the last one does, it is limbo ("definite
 * 1/2 scans"). Allocations of a DEAD session without evidence are limbo too.
 *
 * audit_begin() copies all it needs except the allocations; audit_add() takes those in batches. So the caller can
 * fetch them from a snapshot and count them in another thread.
 */
#ifndef RMEM_SERVER_AUDIT_AUDIT_H
#define RMEM_SERVER_AUDIT_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/audit/finding.h"
#include "server/audit/scan.h"
#include "server/ledger/ledger.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"

struct audit_input {
	const struct ledger *ledger;
	const struct sessions *sessions;
	const struct sites *sites;
	uint64_t now_ns;
	const struct audit_node *nodes; /* only node, registered_bytes and free_bytes are read */
	size_t nnodes;
};

enum audit_depth {
	AUDIT_SCAN, /* no result, only a scan to compare the next one with: a few times faster */
	AUDIT_FULL,
};

/*
 * Begin an audit of the current state. Does not keep *in. previous: the scan to compare with, which must outlive the
 * audit; NULL: nothing is confirmed. O(sessions + sites). -ENOMEM.
 */
struct audit;
int audit_begin(const struct audit_input *in, const struct audit_scan *previous,
	enum audit_depth depth, struct audit **out);

/*
 * Add n records, as they were at audit_begin(), and their slots. Add every record that is not FREE exactly once, in
 * any order; slot order is fastest. Touches only the audit and previous. If memory runs out, audit_end() fails.
 */
void audit_add(struct audit *a, const uint32_t *slots, const struct allocation *records, size_t n);

/*
 * The same for one record, with what a LIVE slab holds: words are the records of its slots (slab_slots() of them), of
 * which an OBJECT_LIVE has no site that its session was not told. A slab without words counts as one that holds nothing.
 */
void audit_add_slab(
	struct audit *a, uint32_t slot, const struct allocation *record, const uint64_t *words);

/* Finish after all records were added. *out_result is NULL for AUDIT_SCAN. -ENOMEM. Always frees a. */
int audit_end(struct audit *a, struct audit_scan **out_scan, struct audit_result **out_result);
void audit_abandon(struct audit *a); /* NULL is fine */

/* A session as an audit sees it; NULL: none. */
struct audit_holder_state audit_holder_of(const struct session_record *r);

/*
 * The kind that an audit would give one allocation now, regardless of its age. REVOKING and QUARANTINE blocks are
 * limbo. previous may be NULL.
 */
enum audit_kind audit_judge(const struct audit_input *in, const struct audit_scan *previous,
	const struct allocation *a);

/*
 * Conservation alone, from the ledger's own sums, which know slabs only as a whole: completes in->nodes, ordered by
 * node. A node that only the ledger
 * knows is added with registered_bytes 0. Returns the number of nodes. O(nodes). Only an audit compares these sums
 * with the records.
 */
size_t audit_nodes(const struct audit_input *in, struct audit_node out[ADDR_MAX_NODES]);

/* Reference count, initially 1; the last release frees the result. One thread at a time. */
struct audit_result *audit_result_hold(struct audit_result *r);
void audit_result_release(struct audit_result *r); /* NULL is fine */

#endif
