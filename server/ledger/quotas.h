/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each session and each job has, and whether it may have more. The ledger keeps the sums with every change, and
 * the session table says who is in which job; after a restart both tell it all again.
 *
 * A job is the sessions with the same label and uid, on any host: a batch job may run on several. A session without a label
 * is in no job. Both are what clients say of themselves: a quota protects jobs from each other's mistakes, and not from
 * a client that lies.
 *
 * An allocation counts until its memory can be lent again: also while it is revoked and wiped, so that no session keeps
 * more memory from others than its quota by freeing it. Memory on its way back is summed apart: a session refused only
 * because of it may wait for it. There are at most as many jobs as sessions: a job is forgotten with its last session.
 *
 * Memory of sessions that are not in the session table counts for nobody. Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_QUOTAS_H
#define RMEM_SERVER_LEDGER_QUOTAS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/quota.h"
#include "server/ledger/allocation.h"
#include "server/ledger/slotmap.h"
#include "server/ledger/slots.h"

struct quota_use {
	uint64_t of[QUOTA_KINDS]; /* windows: 0, the grants are not in the ledger */
};

struct quota_sums {
	struct quota_use held;   /* LIVE, and ZOMBIE */
	struct quota_use coming; /* REVOKING and QUARANTINE: on its way back */
};

struct quota_job {
	char label[QUOTA_JOB_SIZE];
	uint32_t uid;
	uint32_t sessions;
	struct quota_sums sums;
};

struct quota_holder {
	uint64_t serial; /* of the session; 0: none */
	uint32_t job;    /* its number; SLOT_NONE: none */
	struct quota_sums sums;
};

struct quotas {
	struct quota_rules
		rules; /* operators change them at any time; a holder above its new quota keeps what it has */
	struct quota_holder *holders; /* by slot of the session table */
	struct quota_job *jobs;
	struct slots numbers; /* of jobs */
	struct slotmap by_label;
};

/* What is exhausted. */
struct quota_excess {
	const struct quota_job *job; /* NULL: the session's own quota */
	enum quota_kind kind;
	uint64_t has, wants, most;
};

int quotas_create(struct quotas *q);   /* -ENOMEM */
void quotas_destroy(struct quotas *q); /* zeroed is fine */

/* A session enters the table, or leaves it. Its allocations are added afterwards, and removed before. */
void quotas_join(struct quotas *q, uint32_t slot, uint64_t serial, const struct identity *who);
void quotas_leave(struct quotas *q, uint32_t slot);

/* a is not FREE. The record must not change between add and remove. */
void quotas_add(struct quotas *q, const struct allocation *a);
void quotas_remove(struct quotas *q, const struct allocation *a);

/*
 * May the session have this allocation as well? giver: whose it is now, by slot; SLOT_NONE: it is new. If not, *out says
 * why. when_back: would it, if all were back that is on its way?
 */
bool quotas_allow(const struct quotas *q, uint32_t slot, const struct allocation *wanted,
	uint32_t giver, bool when_back, struct quota_excess *out);

/* May a session that has so many windows have another? */
bool quotas_allow_window(const struct quotas *q, uint32_t has, struct quota_excess *out);

/* Names what is exhausted, of whom, and what helps: to be told to the session itself. Returns -EDQUOT. */
int quotas_explain(const struct quota_excess *excess, struct errinfo *errinfo);

/* What the session in a slot, or a job, has: held and coming. */
struct quota_use quotas_use(const struct quota_sums *sums);
const struct quota_sums *quotas_session(const struct quotas *q, uint32_t slot);
const struct quota_job *quotas_job(const struct quotas *q, uint32_t slot); /* NULL: none */

/* Iterate over jobs: start with *cursor = 0; NULL at the end. */
const struct quota_job *quotas_next_job(const struct quotas *q, uint32_t *cursor);

#endif
