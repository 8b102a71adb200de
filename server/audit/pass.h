/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One audit of the ledger beside the event loop: the loop copies records from a snapshot, a few thousand at a time, and
 * those of the objects of slabs, and a thread counts them. The thread sees only these copies. Objects are read when
 * their slab's turn comes; a slab that is not LIVE any more then is not read. The event loop only.
 */
#ifndef RMEM_SERVER_AUDIT_PASS_H
#define RMEM_SERVER_AUDIT_PASS_H

#include "server/audit/audit.h"

struct event_base;
struct pass;

/* What a pass reads, in the loop. */
struct pass_source {
	struct ledger *ledger;
	/*
	 * Copy the records of the first n slots of a slab that is LIVE, as audit_add_slab() wants them. NULL: slabs are
	 * not read.
	 */
	void (*read)(void *arg, const struct allocation *slab, uint64_t *words, uint32_t n);
	void *arg;
};

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
int pass_start(struct event_base *base, const struct pass_source *source, struct audit *audit,
	struct audit_scan *stale, void (*done)(void *arg, const struct pass_outcome *outcome),
	void *arg, struct pass **out);

/* At any time. Waits for the thread to finish its batch of records, or its sorting of all findings. NULL is fine. */
void pass_stop(struct pass *p);

#endif
