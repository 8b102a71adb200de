/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of a queue: rmem_start_alloc() and its like. Each has its place in the queue's order, and is reported when all
 * that was started before it has been. What takes no round trip is carried out when it is started; the rest by the session's
 * thread for calls (client/space/call_thread.h), beside the operations of the queue, which do not wait for it.
 *
 * The queue's thread.
 */
#ifndef RMEM_CLIENT_API_CALLS_H
#define RMEM_CLIENT_API_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "rmem/rmem.h"

#define CALLS_REASON_SHIFT 8 /* in the flags of a completion: the low ones are for the program */

/* The last that has failed, of those that a rmem_reap() reports; status 0: none. */
struct call_failure {
	int status;
	uint32_t reason; /* its reasons_add() */
};

/* Has all that was started before the oldest call been reported? There is one. */
bool calls_are_next(const struct rmem_queue *q);

/* Report the oldest call, if it is over and next. */
bool calls_reap(struct rmem_queue *q, struct rmem_completion *out, struct call_failure *failed);

/*
 * The oldest call is next: wait until it is over, or the deadline, or for a moment if there are operations that have to
 * be seen to. 0, or -EINTR where the queue is interruptible.
 */
int calls_wait(struct rmem_queue *q, uint64_t deadline_ns);

/* The queue ends: what was not reaped is undone, or carried out if it gives something back. Waits for nothing. */
void calls_leave(struct rmem_queue *q);
void calls_destroy(struct rmem_queue *q);

#endif
