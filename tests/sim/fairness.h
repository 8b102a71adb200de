/* SPDX-License-Identifier: BSD-3-Clause */
/* The quotas of sessions and jobs, by counting everything anew. */
#ifndef RMEM_SIM_FAIRNESS_H
#define RMEM_SIM_FAIRNESS_H

#include <stdbool.h>

#include "server/ledger/allocation.h"

struct owner;

/* Which there are in this run. */
void fairness_choose(void);

/* No session and no job has more than it may. */
void fairness_check(void);

/*
 * May it have that, which is another session's (giver) or new (NULL)? when_back: if all were back that is being revoked or
 * wiped.
 */
bool fairness_allows(const struct owner *o, const struct allocation *wanted,
	const struct owner *giver, bool when_back);

#endif
