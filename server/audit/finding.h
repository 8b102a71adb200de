/* SPDX-License-Identifier: BSD-3-Clause */
/* What an audit comes to (server/audit/audit.h): findings, and where every byte is. Pure. */
#ifndef RMEM_SERVER_AUDIT_FINDING_H
#define RMEM_SERVER_AUDIT_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "server/ledger/accounts.h"

enum audit_kind {
	AUDIT_DEFINITE,
	AUDIT_INDIRECT,
	AUDIT_POSSIBLE,
	AUDIT_IDLE,
	AUDIT_REACHABLE,
	AUDIT_LIMBO,
	AUDIT_ZOMBIE,
	AUDIT_SUPPRESSED,
	AUDIT_KINDS
};

/* One NUMA node's bytes. registered = free + live + courtesy + quarantine + zombie. */
struct audit_node {
	unsigned node;
	bool miscounted; /* the ledger's own sums are others than those that were counted: always a bug */
	uint64_t registered_bytes; /* given: what the NIC can reach */
	uint64_t free_bytes;       /* given: the allocator's own count */
	uint64_t live_bytes;       /* from the ledger, in blocks */
	uint64_t courtesy_bytes;   /* of sessions that are not connected */
	uint64_t quarantine_bytes; /* revoking and being wiped */
	uint64_t zombie_bytes;
	uint64_t kept_bytes[LEDGER_CLASSES]; /* the last four by the ledger's own sums */
	int64_t unaccounted_bytes;
};

/* What an audit knows of a session, as it was at that moment. */
struct audit_holder_state {
	uint64_t serial; /* 0: there is none */
	uint64_t since_ns;
	uint8_t state;    /* enum session_state */
	uint8_t evidence; /* enum holder_evidence */
	bool expired;     /* its lease is over */
};

/* Allocations of one kind, one site and one holder, merged. */
struct audit_holder {
	struct audit_holder_state then; /* of the session, unless it is an orphan's */
	uint32_t session;               /* slot */
	uint64_t session_serial;
	uint64_t blocks;
	uint64_t bytes;
	uint64_t block_bytes;
	bool orphan; /* there is no such session (any more): always a bug */
};

struct audit_finding {
	enum audit_kind kind;
	uint64_t id;        /* stable: hash of kind and site */
	uint32_t site;      /* 0: unknown, or a site that is not in the table */
	uint64_t site_hash; /* which one had that number then; 0: unknown */
	uint64_t blocks;
	uint64_t bytes;                      /* asked for */
	uint64_t block_bytes;                /* lent: the rest is waste */
	uint64_t birth_min_ns, birth_max_ns; /* server times, like all here */
	uint64_t age_sum_ms;                 /* for the average */
	uint64_t nodes;                      /* bit set */
	struct audit_holder *holders;        /* by bytes, descending, then by serial */
	size_t nholders;
	uint32_t unconfirmed; /* blocks that only the last scan called definite (kind is limbo) */
};

struct audit_total {
	uint64_t blocks;
	uint64_t bytes;
};

struct audit_result {
	struct audit_finding *findings; /* by kind, then bytes descending, then id */
	size_t nfindings;
	struct audit_total totals[AUDIT_KINDS];
	struct audit_node nodes[ADDR_MAX_NODES];
	size_t nnodes;
	uint64_t allocations_total;   /* LIVE and ZOMBIE: the others have been given back */
	uint64_t allocations_audited; /* the rest is too young */
	uint64_t allocations_without_site;
	uint64_t
		orphans; /* allocations whose session record is not there: always a bug, a finding too */
	uint64_t sessions_total;
	uint64_t sessions_not_judged; /* they may come back, or their lease is over */
	uint64_t now_ns;
	unsigned more_holders; /* audit_result_hold() */
};

const char *audit_kind_name(enum audit_kind kind); /* "definite", … */

#endif
