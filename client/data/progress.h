/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations on a channel: started, handed to the device, brought to their end over as many connections as it takes. */
#ifndef RMEM_CLIENT_DATA_PROGRESS_H
#define RMEM_CLIENT_DATA_PROGRESS_H

#include "client/data/channel.h"

/*
 * Start an operation: its pieces are checked, and there is a key for each of the remote ones, for which
 * what is outstanding may have to be waited for. Started operations are posted in lists.
 * -EFAULT, -ESTALE, and what coming back can end in: it was not started.
 */
int progress_start(struct channel *ch, struct operation *op, struct errinfo *errinfo);

/* Post what was started. */
void progress_post(struct channel *ch, struct errinfo *errinfo);

/*
 * Bring operations forward, until the oldest completes or the deadline has passed (0: do not wait;
 * PIPELINE_FOREVER). What fails carries its status; errinfo tells about the last that failed. Coming back is
 * part of it, and has its own limit. 0, or -EINTR where the pipeline is interruptible.
 */
int progress_advance(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);

/* Start one operation on an idle channel, and wait for it (as far as it goes): its status. */
int progress_run(struct channel *ch, struct operation *op, struct errinfo *errinfo);

#endif
