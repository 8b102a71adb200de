/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One audit of the ledger, beside the event loop: the loop fetches the records from a snapshot, a few thousand at a time,
 * and a thread counts them. The thread sees only what it is given. The event loop only.
 */
#ifndef RMEM_SERVER_AUDIT_PASS_H
#define RMEM_SERVER_AUDIT_PASS_H

#include "server/audit/audit.h"

struct event_base;
struct pass;

struct pass_outcome {
	int err; /* 0, or -ENOMEM: then there is neither */
	struct audit_scan *scan;
	struct audit_result *result; /* of a whole audit; the caller's, like the scan */
};

/*
 * The ledger must be as it was at audit_begin(); *audit is taken over, also by a failure. done() is called once, from the
 * loop, and must call pass_stop(). ERRORS: -ENOMEM, -EBUSY, errno of eventfd(2) and pthread_create(3).
 */
int pass_start(struct event_base *base, struct ledger *ledger, struct audit *audit,
	void (*done)(void *arg, const struct pass_outcome *outcome), void *arg, struct pass **out);

/* At any time; the thread ends within what it does with a few thousand records, or with sorting all findings. NULL is fine. */
void pass_stop(struct pass *p);

#endif
