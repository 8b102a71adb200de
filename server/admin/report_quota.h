/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts about quotas in reports of other things. */
#ifndef RMEM_SERVER_ADMIN_REPORT_QUOTA_H
#define RMEM_SERVER_ADMIN_REPORT_QUOTA_H

#include "server/admin/report_parts.h"

/* Into a session's object: what it and its job have and may have. */
void part_quotas(struct draft *d, json_t *session, uint32_t slot);

/* The quotas that hold now: {"session":…,"job":…,"named":…} */
json_t *part_quota_rules(struct draft *d);

#endif
