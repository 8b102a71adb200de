/* SPDX-License-Identifier: BSD-3-Clause */
/* What the rest of the library needs to know of queues. */
#ifndef RMEM_CLIENT_API_QUEUE_H
#define RMEM_CLIENT_API_QUEUE_H

#include <stdint.h>

struct rmem;

/* Finish and destroy all queues of a session; what has not completed by the deadline is given up. */
void queues_destroy(struct rmem *rm, uint64_t deadline_ns);
void queues_abandon(struct rmem *rm); /* in a child after fork(): only memory */

#endif
