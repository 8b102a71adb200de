/* SPDX-License-Identifier: BSD-3-Clause */
/* The evidence for a finding's kind: short texts with names and durations (docs/AUDIT.md). */
#ifndef RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H
#define RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H

#include "server/admin/report_parts.h"

/* How the holders of a finding's objects keep their journals. */
struct evidence_journal {
	bool exact, lazy; /* some do */
	uint64_t age_ns;  /* how old the records of the lazy ones may be */
};
void evidence_journal(const struct report_view *view, const struct audit_finding *f,
	struct evidence_journal *out);

/* The texts, in a fixed order. */
json_t *evidence_list(struct draft *d, const struct audit_finding *f);

#endif
