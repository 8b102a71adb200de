/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a finding is called what it is called: short texts with names and durations (docs/AUDIT.md). */
#ifndef RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H
#define RMEM_SERVER_ADMIN_REPORT_EVIDENCE_H

#include "server/admin/report_parts.h"

/* A list of texts, always in the same order. */
json_t *evidence_list(struct draft *d, const struct audit_finding *f);

#endif
