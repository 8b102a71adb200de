/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much a session and a job may have: the limits that an operator sets, by --quota-session and --quota-job or by
 * `rmemctl quota`. What they have is in server/ledger/quotas.h. Tenants will be one more struct quota in the rules.
 *
 * Text is "bytes=8G,blocks=100000", for a job "NAME:bytes=64G" or, for all jobs without a name of their own there,
 * without NAME. What is not named keeps its limit. "none" is no limit, "default" what holds if nothing is said: of a named
 * job, the limit of all jobs; else none.
 *
 * Pure.
 */
#ifndef RMEM_SERVER_BASE_QUOTA_H
#define RMEM_SERVER_BASE_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/errinfo.h"
#include "common/message.h"

enum quota_kind {
	QUOTA_BYTES,   /* of blocks: whole pages */
	QUOTA_BLOCKS,  /* allocations, slabs among them */
	QUOTA_OBJECTS, /* slots of slabs, held or not, and blocks of their own */
	QUOTA_WINDOWS, /* keys of the NIC that are valid now; of sessions only */
	QUOTA_KINDS
};

#define QUOTA_UNSAID 0
#define QUOTA_NONE UINT64_MAX

struct quota {
	uint64_t most[QUOTA_KINDS]; /* QUOTA_UNSAID, QUOTA_NONE, or how many */
};

#define QUOTA_JOB_SIZE sizeof(((struct identity *)NULL)->job)
#define QUOTA_NAMED_MAX 64

struct quota_rules {
	struct quota session; /* of each session */
	struct quota job;     /* of each job */
	struct quota_named {
		char job[QUOTA_JOB_SIZE];
		struct quota quota;
	} named[QUOTA_NAMED_MAX];
	unsigned nnamed;
};

const char *quota_kind_name(enum quota_kind kind); /* "bytes", … */

/* Change the rules as the text says. -EINVAL, and -ENOSPC: QUOTA_NAMED_MAX jobs are named. Then nothing is changed. */
int quota_set_session(struct quota_rules *rules, const char *text, struct errinfo *errinfo);
int quota_set_job(struct quota_rules *rules, const char *text, struct errinfo *errinfo);

/* The limits of the job with this label, those of all jobs included. */
struct quota quota_of_job(const struct quota_rules *rules, const char *label);

/* The limit is never QUOTA_UNSAID: QUOTA_NONE, or how many. */
static inline uint64_t quota_limit(const struct quota *quota, enum quota_kind kind)
{
	return quota->most[kind] == QUOTA_UNSAID ? QUOTA_NONE : quota->most[kind];
}

#endif
