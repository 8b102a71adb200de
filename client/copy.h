/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes as the application means them. Any thread.
 */
#ifndef RMEM_CLIENT_COPY_H
#define RMEM_CLIENT_COPY_H

#include "client/plan.h"
#include "client/session.h"

/* -EFAULT -ESTALE -ECONNRESET -ETIMEDOUT: as in rmem.h. */
int copy_run(
	struct session *s, enum transfer_direction direction, struct plan *plan, struct why *why);

#endif
