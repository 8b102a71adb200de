/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building one work request of an operation: which way its local bytes travel (client/pipeline.h), and how many
 * of them. The pipeline's thread.
 */
#ifndef RMEM_CLIENT_WORK_H
#define RMEM_CLIENT_WORK_H

#include "client/pipeline.h"

#define WORK_NO_ROOM 1 /* not before something has completed */

/* One more for an operation that is not built yet: 0, WORK_NO_ROOM, or why it cannot go on. */
int work_build(struct pipeline *p, struct operation *op, struct why *why);

/* A read that was bounced has arrived: its bytes go where they belong. */
void work_hand_out(const struct work *work);

#endif
