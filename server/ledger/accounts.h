/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sums over the ledger that reports show: blocks and bytes by node and class, and by session. The ledger updates
 * the sums with every change (ledger.c is the only caller), so reports do not walk over the allocations. The audit
 * recounts from the records and compares.
 *
 * LIVE memory counts as live while its session is connected, else as courtesy. LIVE memory is summed by session and
 * node, so a session that connects or detaches moves only these sums: O(nodes).
 *
 * A slot of the session table has one session at a time. If session records were lost, the ledger may list memory of
 * several sessions in one slot. Then one session, the connected one if any, owns the slot's sums. Allocations of the
 * other sessions are strays and count as courtesy.
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
	uint64_t bytes;       /* requested */
	uint64_t block_bytes; /* of the blocks */
	uint64_t slabs;       /* of the blocks, those that are slabs */
};

enum ledger_class {
	CLASS_LIVE,       /* LIVE, session connected */
	CLASS_COURTESY,   /* LIVE, session not connected */
	CLASS_QUARANTINE, /* REVOKING and QUARANTINE */
	CLASS_ZOMBIE,
	LEDGER_CLASSES
};

/* The sums of one node. */
struct ledger_account {
	struct ledger_share classes[LEDGER_CLASSES];
};

struct account_holder {
	uint64_t serial;         /* of the session that owns the sums; 0: none yet */
	struct ledger_share own; /* its allocations of any state */
	uint32_t strays;         /* number of other sessions' allocations in this slot */
	bool connected;
};

struct accounts {
	struct ledger_account nodes[ADDR_MAX_NODES];
	uint64_t nodes_used;            /* bit mask */
	struct account_holder *holders; /* by slot */
	/* LIVE memory by slot; NULL: accounts_prepare() */
	struct ledger_share *live[ADDR_MAX_NODES];
};

int accounts_create(struct accounts *acc);   /* -ENOMEM */
void accounts_destroy(struct accounts *acc); /* zeroed is fine */

void ledger_share_add(struct ledger_share *share, const struct allocation *a);

/* Before the first allocation of a node is added. -ENOMEM. */
int accounts_prepare(struct accounts *acc, unsigned node);

/* a is not FREE. The record must not change between add and remove. */
void accounts_add(struct accounts *acc, const struct allocation *a);
void accounts_remove(struct accounts *acc, const struct allocation *a);

/* LIVE memory, on a node, of the session that owns the slot's sums. */
struct ledger_share accounts_live(const struct accounts *acc, uint32_t session, unsigned node);

/*
 * The session with this serial number is now connected in this slot; 0: no session of the slot is. If
 * accounts_must_recount(), the caller removes all allocations of the slot before and adds them again after.
 */
void accounts_connect(struct accounts *acc, uint32_t session, uint64_t serial);
bool accounts_must_recount(const struct accounts *acc, uint32_t session, uint64_t serial);

#endif
