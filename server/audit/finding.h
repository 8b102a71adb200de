/* SPDX-License-Identifier: BSD-3-Clause */
/* The result of an audit (server/audit/audit.h): findings, and the bytes of each node by class. Pure. */
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
	bool miscounted; /* the ledger's own sums differ from those counted: always a bug */
	uint64_t registered_bytes; /* given: bytes that the NIC can reach */
	uint64_t free_bytes;       /* given: the allocator's own count */
	uint64_t live_bytes;       /* this and the next three: from the ledger, whole blocks */
	uint64_t courtesy_bytes;   /* of sessions that are not connected */
	uint64_t quarantine_bytes; /* being revoked or wiped */
	uint64_t zombie_bytes;
	uint64_t kept_bytes[LEDGER_CLASSES]; /* the ledger's own sums of these four */
	int64_t unaccounted_bytes;
};

/* A session at the moment of the audit. */
struct audit_holder_state {
	uint64_t serial; /* 0: no session */
	uint64_t since_ns;
	uint8_t state;    /* enum session_state */
	uint8_t evidence; /* enum holder_evidence */
	bool expired;     /* the lease is over */
};

/* Merged allocations of one kind, site and holder. */
struct audit_holder {
	struct audit_holder_state then; /* meaningless for an orphan */
	uint32_t session;               /* slot */
	uint64_t session_serial;
	uint64_t blocks;
	uint64_t bytes;
	uint64_t block_bytes;
	bool orphan; /* the session's record is missing: always a bug */
};

struct audit_finding {
	enum audit_kind kind;
	uint64_t id;        /* stable: hash of kind and site */
	uint32_t site;      /* 0: unknown, or not in the table */
	uint64_t site_hash; /* of the site that had this number then; 0: unknown */
	uint64_t blocks;
	uint64_t bytes;                      /* requested */
	uint64_t block_bytes;                /* lent; the difference is waste */
	uint64_t birth_min_ns, birth_max_ns; /* server time, like all times here */
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
	uint64_t allocations_total; /* LIVE and ZOMBIE: all others have been given back */
	uint64_t allocations_without_site;
	uint64_t orphans; /* allocations without a session record: always a bug, also a finding */
	uint64_t sessions_total;
	uint64_t sessions_not_judged; /* detached, or connected with an expired lease */
	uint64_t now_ns;
	unsigned more_holders; /* audit_result_hold() calls not yet released */
};

const char *audit_kind_name(enum audit_kind kind); /* "definite", … */

#endif
