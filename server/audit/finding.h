/* SPDX-License-Identifier: BSD-3-Clause */
/* The result of an audit (server/audit/audit.h): findings, and the bytes of each node by class. Pure. */
#ifndef RMEM_SERVER_AUDIT_FINDING_H
#define RMEM_SERVER_AUDIT_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/size_class.h"
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

/* One NUMA node's bytes. registered = free + live + cached + courtesy + quarantine + zombie + metadata. */
struct audit_node {
	unsigned node;
	bool miscounted; /* the ledger's own sums differ from those counted: always a bug */
	uint64_t registered_bytes; /* given: bytes that the NIC can reach */
	uint64_t free_bytes;       /* given: the allocator's own count */
	uint64_t live_bytes;       /* this and the next three: blocks, and what is held in slabs */
	uint64_t courtesy_bytes;   /* of sessions that are not connected */
	uint64_t quarantine_bytes; /* being revoked or wiped */
	uint64_t zombie_bytes;
	uint64_t
		cached_bytes; /* slots of slabs that hold no object. Only an audit tells: else live or courtesy */
	uint64_t metadata_bytes; /* of slabs, beside their slots. Likewise */
	/* By class, slabs as a whole: counted by the audit, and the ledger's own sums. */
	uint64_t counted_bytes[LEDGER_CLASSES], kept_bytes[LEDGER_CLASSES];
	int64_t unaccounted_bytes;
};

/* A session at the moment of the audit. */
struct audit_holder_state {
	uint64_t serial; /* 0: no session */
	uint64_t since_ns;
	uint64_t opened_ns;
	uint64_t expired_ns;   /* 0: the lease is not over */
	uint64_t journaled_ns; /* session_journaled_ns() */
	uint8_t state;         /* enum session_state */
	uint8_t evidence;      /* enum holder_evidence */
	bool exact;            /* JOURNAL_EXACT */
	bool no_sites;         /* SESSION_NO_SITES */
};

/* Merged allocations, blocks and objects, of one kind, site and holder. */
struct audit_holder {
	uint32_t session; /* slot */
	uint64_t session_serial;
	uint64_t blocks; /* and objects */
	uint64_t objects;
	uint64_t bytes;
	uint64_t block_bytes;
	uint64_t slabs;                 /* if the records are corrupt: with such records */
	bool orphan;                    /* the session's record is missing: always a bug */
	struct audit_holder_state then; /* meaningless for an orphan */
};

struct audit_finding {
	enum audit_kind kind;
	uint64_t id;        /* stable: hash of kind and site */
	uint32_t site;      /* 0: unknown, or not in the table */
	uint64_t site_hash; /* of the site that had this number then; 0: unknown */
	bool corrupt; /* slots whose records cannot be true: held, perhaps, and the site is unknown */
	uint64_t slabs;     /* if corrupt: with such records; */
	uint64_t slab_addr; /* the lowest of these */
	uint64_t blocks;    /* and objects */
	uint64_t objects;
	uint64_t bytes;       /* requested */
	uint64_t block_bytes; /* lent, of an object its slot; the difference is waste */
	uint64_t birth_min_ns, birth_max_ns; /* server time, like all times here */
	uint64_t age_sum_ms;                 /* for the average */
	uint64_t nodes;                      /* bit set */
	struct audit_holder *holders;        /* by bytes, descending, then by serial */
	size_t nholders;
	uint64_t
		unconfirmed; /* blocks and objects that only the last scan called definite (kind is limbo) */
};

struct audit_total {
	uint64_t blocks; /* and objects */
	uint64_t objects;
	uint64_t bytes;
};

/* LIVE slabs of one size class. slab_bytes = bytes + waste in held slots + cached slots + metadata. */
struct audit_slabs {
	uint64_t slabs;
	uint64_t active;     /* of these, with an object */
	uint64_t slab_bytes; /* whole pages */
	uint64_t slots;
	uint64_t objects; /* held slots */
	uint64_t bytes;   /* requested for these */
};

struct audit_result {
	struct audit_finding *findings; /* by kind, then bytes descending, then id */
	size_t nfindings;
	struct audit_total totals[AUDIT_KINDS];
	struct audit_node nodes[ADDR_MAX_NODES];
	size_t nnodes;
	uint64_t
		allocations_total; /* LIVE and ZOMBIE: all others have been given back. Objects, not their slabs */
	uint64_t allocations_without_site;
	uint64_t objects_total; /* held */
	uint64_t slabs_total;   /* LIVE */
	uint64_t
		slabs_unread; /* of these: given back before their records were read; all of their slots count as cached */
	uint64_t corrupt_records; /* in the slabs' journals */
	struct audit_slabs classes
		[SIZE_CLASSES]; /* by size class; their sums are slabs_total and objects_total */
	uint64_t
		orphans; /* allocations or slabs without a session record: always a bug, also a finding */
	uint64_t sessions_total;
	uint64_t sessions_not_judged; /* detached, or connected with an expired lease */
	uint64_t now_ns;
	unsigned more_holders; /* audit_result_hold() calls not yet released */
};

/*
 * How much older than the end of the session's life, or than the audit, what its records tell can be: the time for which
 * its client has not said that they are complete.
 */
uint64_t audit_journal_age_ns(const struct audit_holder_state *h, uint64_t now_ns);

const char *audit_kind_name(enum audit_kind kind); /* "definite", … */

#endif
