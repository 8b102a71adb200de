/* SPDX-License-Identifier: BSD-3-Clause */
/* The queues of a session, as its end sees them. */
#ifndef RMEM_CLIENT_API_QUEUES_H
#define RMEM_CLIENT_API_QUEUES_H

#include <stdint.h>

struct rmem;

/* Finish and destroy all; what has not completed by the deadline is given up. */
void queues_destroy(struct rmem *rm, uint64_t deadline_ns);
void queues_abandon(
	struct rmem *rm); /* in a child after fork(): descriptors, and what is on no heap */

#endif
