/* SPDX-License-Identifier: BSD-3-Clause */
/* The report of quotas (server/admin/report.h), and its parts that other reports have. */
#ifndef RMEM_SERVER_ADMIN_REPORT_QUOTA_H
#define RMEM_SERVER_ADMIN_REPORT_QUOTA_H

#include "server/admin/report_parts.h"

#define REPORT_JOBS_MAX 256 /* jobs that are listed */

/* The quotas that hold now, and what jobs have. */
json_t *report_quota(const struct report_view *view);

/* Into a session's object: what it and its job have and may have. */
void part_quotas(struct draft *d, json_t *session, uint32_t slot);

/* The quotas that hold now: {"session":…,"job":…,"named":…} */
json_t *part_quota_rules(struct draft *d);

#endif
