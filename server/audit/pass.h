/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One audit of the ledger beside the event loop: the loop copies records from a snapshot, a few thousand at a time, and
 * a thread counts them. The thread sees only these copies. The event loop only.
 */
#ifndef RMEM_SERVER_AUDIT_PASS_H
#define RMEM_SERVER_AUDIT_PASS_H

#include "server/audit/audit.h"

struct event_base;
struct pass;

struct pass_outcome {
	int err;                     /* 0, or -ENOMEM and both pointers are NULL */
	struct audit_scan *scan;     /* done() owns scan and result */
	struct audit_result *result; /* NULL after AUDIT_SCAN */
};

/*
 * The ledger must be unchanged since audit_begin(). Takes over audit and stale, on failure too;
 * stale is a scan that the thread frees, or NULL. done() is called once, from the
 * loop, and must call pass_stop(). ERRORS: -ENOMEM, -EBUSY, errno of eventfd(2) and pthread_create(3).
 */
int pass_start(struct event_base *base, struct ledger *ledger, struct audit *audit,
	struct audit_scan *stale, void (*done)(void *arg, const struct pass_outcome *outcome),
	void *arg, struct pass **out);

/* At any time. Waits for the thread to finish its batch of records, or its sorting of all findings. NULL is fine. */
void pass_stop(struct pass *p);

#endif
