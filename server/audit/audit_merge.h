/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merging: allocations of one kind and one site become a finding, those of one holder in it a share.
 * A cell is the smallest piece, one per kind, site and holder; there are few of them, however many
 * allocations there are.
 */
#ifndef RMEM_SERVER_AUDIT_AUDIT_MERGE_H
#define RMEM_SERVER_AUDIT_AUDIT_MERGE_H

#include "server/audit/finding.h"
#include "server/ledger/allocation.h"

struct audit_cells;

int audit_cells_create(struct audit_cells **out); /* -ENOMEM */
void audit_cells_destroy(struct audit_cells *c);  /* NULL is fine */

struct audit_member {
	enum audit_kind kind;
	uint32_t site;
	const struct allocation *allocation;
	const struct audit_holder_state *holder;
	bool orphan;
	bool unconfirmed;
	uint64_t now_ns;
};

/* -ENOMEM. Several at a time are much faster: their cells are anywhere in memory, and are fetched together. */
int audit_cells_add(struct audit_cells *c, const struct audit_member *members, size_t n);

/* Fill findings and nfindings of r, in their final order; nothing can be added after. site_hashes is by number. -ENOMEM. */
int audit_cells_merge(
	struct audit_cells *c, const uint64_t site_hashes[SITES_MAX], struct audit_result *r);

void audit_findings_destroy(struct audit_finding *findings, size_t n);

#endif
