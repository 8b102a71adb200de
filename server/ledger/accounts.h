/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sums over the ledger that reports show: blocks and bytes by node and class, and by session. They are kept where the
 * ledger changes (server/ledger/ledger.c is the only caller), so that a report need not walk over the allocations. The audit
 * counts the same from the records, and compares.
 *
 * Whether LIVE memory counts as live or as courtesy is a matter of its session's state. So the LIVE memory of each session is
 * summed up by node, and a session that connects or is detached moves its sums: O(nodes), whatever it holds.
 *
 * A slot of the session table has one session at a time. Only if records of the table were lost, the ledger may list memory of
 * several in one slot: then one of them has the sums, preferably the one that is in the table, and the others' allocations
 * are strays. They count as courtesy.
 *
 * Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_ACCOUNTS_H
#define RMEM_SERVER_LEDGER_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "server/ledger/allocation.h"

struct ledger_share {
	uint64_t blocks;
	uint64_t bytes;       /* asked for */
	uint64_t block_bytes; /* lent */
};

enum ledger_class {
	CLASS_LIVE,       /* LIVE, of a connected session */
	CLASS_COURTESY,   /* LIVE, of any other */
	CLASS_QUARANTINE, /* REVOKING and QUARANTINE */
	CLASS_ZOMBIE,
	LEDGER_CLASSES
};

/* One node's. */
struct ledger_account {
	struct ledger_share classes[LEDGER_CLASSES];
};

struct account_holder {
	uint64_t serial;         /* of the session that has the sums; 0: nobody yet */
	struct ledger_share own; /* of that session, in any state */
	uint32_t strays;         /* allocations of other sessions in that slot */
	bool connected;
};

struct accounts {
	struct ledger_account nodes[ADDR_MAX_NODES];
	uint64_t nodes_used;            /* bit set */
	struct account_holder *holders; /* by slot */
	struct ledger_share *live;      /* LIVE ones, by node and then by slot */
};

int accounts_create(struct accounts *acc);   /* -ENOMEM */
void accounts_destroy(struct accounts *acc); /* of a zeroed struct is fine */

void ledger_share_add(struct ledger_share *share, const struct allocation *a);

/* a is not FREE. Between the two neither its state nor its session's may change. */
void accounts_add(struct accounts *acc, const struct allocation *a);
void accounts_remove(struct accounts *acc, const struct allocation *a);

/* LIVE memory of the session that has the sums of that slot, on a node. */
struct ledger_share accounts_live(const struct accounts *acc, uint32_t session, unsigned node);

/*
 * The session with that serial number is the one in the slot, and is connected; 0: none in that slot is. If
 * accounts_must_recount() says so, all allocations of the slot are removed before and added again after.
 */
void accounts_connect(struct accounts *acc, uint32_t session, uint64_t serial);
bool accounts_must_recount(const struct accounts *acc, uint32_t session, uint64_t serial);

#endif
