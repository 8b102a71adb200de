/* SPDX-License-Identifier: BSD-3-Clause */
/* A session as its grants see it. The event loop only. */
#ifndef RMEM_SERVER_GRANT_GRANTEE_H
#define RMEM_SERVER_GRANT_GRANTEE_H

#include <stdbool.h>
#include <stdint.h>

struct wait;

struct grantee {
	uint32_t slot;            /* in the table of sessions */
	uint32_t nwindows;        /* its grants on allocations */
	struct wait *grant_ended; /* waits for one of its grants to end, or to be stuck */
	bool has_stuck_qp; /* a queue pair that did not end may still write, at least a heartbeat */
};

#endif
