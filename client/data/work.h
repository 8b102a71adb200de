/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building the work requests of operations: which way their local bytes travel (client/data/pipeline.h), and how many
 * of them. The pipeline's thread.
 */
#ifndef RMEM_CLIENT_DATA_WORK_H
#define RMEM_CLIENT_DATA_WORK_H

#include "client/data/channel.h"

/* Make work requests of what was started, as far as there is room. */
void work_build_all(struct channel *ch, struct errinfo *errinfo);

#endif
