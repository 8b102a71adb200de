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
#include "server/ledger/sites.h"

struct audit_cells;

int audit_cells_create(struct audit_cells **out); /* -ENOMEM */
void audit_cells_destroy(struct audit_cells *c);  /* NULL is fine */

struct audit_member {
	enum audit_kind kind;
	uint32_t site;
	const struct allocation *allocation;
	bool orphan;
	bool unconfirmed;
	uint64_t now_ns;
};

int audit_cells_add(struct audit_cells *c, const struct audit_member *m); /* -ENOMEM */

/* Fill findings and nfindings of r, in their final order; nothing can be added after. -ENOMEM. */
int audit_cells_merge(struct audit_cells *c, const struct sites *sites, struct audit_result *r);

void audit_findings_destroy(struct audit_finding *findings, size_t n);

#endif
