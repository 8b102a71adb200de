/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merging: allocations, blocks and objects, of one kind and site form a finding; within it, those of one holder form a
 * share. A cell is one combination of kind, site and holder. Cells are few, however many allocations there are. Objects
 * with corrupt records have cells of their own.
 */
#ifndef RMEM_SERVER_AUDIT_AUDIT_MERGE_H
#define RMEM_SERVER_AUDIT_AUDIT_MERGE_H

#include "server/audit/finding.h"

struct audit_cells;

int audit_cells_create(struct audit_cells **out); /* -ENOMEM */
void audit_cells_destroy(struct audit_cells *c);  /* NULL is fine */

struct audit_member {
	enum audit_kind kind;
	uint32_t site;
	bool corrupt; /* with site 0 */
	bool orphan;
	bool unconfirmed;
	uint8_t node;
	uint32_t session;
	uint64_t session_serial;
	const struct audit_holder_state *holder;
	uint64_t slab; /* address; 0: a block */
	uint64_t bytes, block_bytes;
	uint64_t birth_ns, now_ns;
};

/* -ENOMEM. Batches are much faster: their cells, scattered in memory, are prefetched together. */
int audit_cells_add(struct audit_cells *c, const struct audit_member *members, size_t n);

/* Set r->findings, sorted, and r->nfindings. Add nothing afterwards. site_hashes: by site number. -ENOMEM. */
int audit_cells_merge(struct audit_cells *c, const uint64_t *site_hashes, struct audit_result *r);

void audit_findings_destroy(struct audit_finding *findings, size_t n);

#endif
