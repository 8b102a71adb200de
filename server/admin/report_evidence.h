/* SPDX-License-Identifier: BSD-3-Clause */
/* The evidence for a finding's kind: short texts with names and durations (docs/AUDIT.md). */
#ifndef RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H
#define RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H

#include "server/admin/report_parts.h"

/* The texts, in a fixed order. */
json_t *evidence_list(struct draft *d, const struct audit_finding *f);

#endif
