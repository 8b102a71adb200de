/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger: each allocation's holder, age and call site. The single source of truth; the allocators' free sets are
 * rebuilt from it.
 *
 * One 64-byte record per allocation, in a table (server/ledger/table.h). A record is filled while its state is FREE and
 * published by the state word. The record is FREE again before its block is. So a kill at any instruction leaves every
 * block either recorded or free, never both.
 *
 *	FREE ──add──▶ LIVE ──▶ REVOKING ──▶ QUARANTINE ──▶ FREE
 *	                          └──────▶ ZOMBIE (revocation not confirmed: never reused by this process;
 *	                                           the next rmemd moves it to QUARANTINE)
 *
 * Pure but for its file. One thread writes. Record pointers stay valid until ledger_close(); only these functions may
 * change a record.
 */
#ifndef RMEM_SERVER_LEDGER_LEDGER_H
#define RMEM_SERVER_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ledger/accounts.h"
#include "server/ledger/allocation.h"

struct identity;
struct ledger;
struct quota_rules;
struct quotas;

/*
 * Version of the stored format. Format 2, which had no slabs and blocks of powers of two, is read too: of such a block,
 * what is beyond the allocation's last page was never reached by a client, so it is zero, and becomes free. The file
 * becomes a 3 with the first ledger_add().
 */
#define LEDGER_FORMAT 3
#define LEDGER_OLDEST 2

/*
 * max: limit on allocations, and so on slots. Indexes the records of earlier processes. Invalid records are rejected
 * and counted: wrong checksum, field out of range, a slab that cannot be, duplicate serial number, serial number that was never given
 * (server/ledger/numbering.h), overlapping blocks (the older record stays). The slot of a rejected record is not used
 * and its bytes stay readable until ledger_drop_rejected(). ERRORS: as table_open(), -ENOMEM.
 */
int ledger_open(struct ledger **out, int dir, const char *name, uint32_t max);
void ledger_close(struct ledger *l);              /* NULL is fine */
uint64_t ledger_inode(const struct ledger *l);    /* 0: unknown */
uint32_t ledger_rejected(const struct ledger *l); /* records that ledger_open() rejected */

/* Iterate over rejected records by ascending slot; any field may be wrong. Start with *cursor = 0; NULL at the end. */
const struct allocation *ledger_next_rejected(const struct ledger *l, uint32_t *cursor);

/*
 * A sum over the records that are not FREE, stored outside the ledger's file. It tells an older copy of the ledger, or one
 * that lost records, from the ledger that a killed rmemd left.
 */
struct ledger_seal {
	uint64_t sum;
	uint64_t changing; /* the record that was being added or freed; 0: none */
};
bool ledger_matches(const struct ledger *l, const struct ledger_seal *seal);

/* Set the seal and keep it up to date until ledger_close(). */
void ledger_keep_seal(struct ledger *l, struct ledger_seal *seal);

/*
 * Free the slots of rejected records. Call only after all memory that no valid record covers has been wiped: the blocks
 * of rejected records are unknown.
 */
void ledger_drop_rejected(struct ledger *l);

/*
 * Publish a LIVE allocation; draft's state and serial are ignored. *out stays valid until the record is FREE again.
 * -EDQUOT: no free slot or serial number. -ENOSPC, or another errno of fallocate(2): the file cannot grow. -EEXIST: addr is in a recorded block. -EINVAL: a
 * draft that ledger_open() would reject.
 */
int ledger_add(struct ledger *l, const struct allocation *draft, const struct allocation **out);

/* Change the state along the arrows above; ALLOCATION_FREE ends the record. -EINVAL for any other change. */
int ledger_set_state(struct ledger *l, const struct allocation *a, enum allocation_state state);

/*
 * Count that all shares of it are revoked: what is made of a->unshared from now on is another. One store changes the
 * record. -EDQUOT: it was done UNSHARED_MAX times.
 */
int ledger_unshare(struct ledger *l, const struct allocation *a);

/*
 * A LIVE allocation becomes another session's, by the request with that number; *out is its record from now on, in another
 * slot and with another serial number. It is that session's from the store on that publishes the new record, which
 * ledger_open() prefers to the old one: at no instant it is both's or nobody's. Nobody may hold a pointer to the old record,
 * which is FREE then. Errors as ledger_add().
 */
int ledger_hand_over(struct ledger *l, const struct allocation *a, uint32_t session,
	uint64_t session_serial, uint32_t seq, const struct allocation **out);

/* The allocation (of any state but FREE) that starts at addr / whose block contains addr, or NULL. */
const struct allocation *ledger_find(const struct ledger *l, uint64_t addr);
const struct allocation *ledger_find_containing(const struct ledger *l, uint64_t addr);

/* Iterate over records that are not FREE, by ascending slot. Start with *cursor = 0; NULL at the end. */
const struct allocation *ledger_next(const struct ledger *l, uint32_t *cursor);

/*
 * A snapshot: all records that are not FREE at ledger_begin_snapshot(), as they were then. Fetch at most max records
 * and their slots per call; 0 at the end. The ledger may change meanwhile. -EBUSY: another snapshot is open. -ENOMEM.
 * ledger_end_snapshot() returns -ENOMEM if the snapshot is incomplete.
 */
int ledger_begin_snapshot(struct ledger *l);
size_t ledger_next_of_snapshot(
	struct ledger *l, uint32_t *slots, struct allocation *records, size_t max);
int ledger_end_snapshot(struct ledger *l);

/*
 * Iterate over the allocations (of any state but FREE) of a session slot, youngest first. prev NULL: start; NULL at the
 * end. An allocation may be freed once the next one has been fetched.
 */
const struct allocation *ledger_next_of_session(
	const struct ledger *l, uint32_t session, const struct allocation *prev);

/* Totals of the allocations of a session slot. O(1). */
uint32_t ledger_session_count(const struct ledger *l, uint32_t session);
uint64_t ledger_session_bytes(const struct ledger *l, uint32_t session); /* of blocks */

/* Totals of one session of the slot, by serial number. O(1) unless the slot has strays (accounts.h). */
struct ledger_share ledger_session_share(const struct ledger *l, uint32_t session, uint64_t serial);

/* LIVE memory, on a node, of the session that owns the slot's sums (accounts.h). O(1). */
struct ledger_share ledger_session_live(const struct ledger *l, uint32_t session, unsigned node);

/*
 * The session with this serial number is now connected in this slot; 0: no session of the slot is. This decides whether
 * memory counts as live or as courtesy. Called by the session table.
 */
void ledger_connect(struct ledger *l, uint32_t session, uint64_t serial);

/* A session is in the table from now on, or no longer: server/ledger/quotas.h. Called by the session table. */
void ledger_join(struct ledger *l, uint32_t session, uint64_t serial, const struct identity *who);
void ledger_leave(struct ledger *l, uint32_t session);

/* What sessions and jobs have and may have; and from now on may have. */
const struct quotas *ledger_quotas(const struct ledger *l);
void ledger_set_quotas(struct ledger *l, const struct quota_rules *rules);

/* Memory of a node (below ADDR_MAX_NODES) in the ledger, by class and in total. O(1). */
const struct ledger_account *ledger_account(const struct ledger *l, unsigned node);
struct ledger_share ledger_node_share(const struct ledger *l, unsigned node);
/* Number of records (of any state but FREE) that name the site. O(1). */
uint32_t ledger_site_count(const struct ledger *l, uint32_t site);

uint32_t ledger_count(const struct ledger *l); /* records that are not FREE */

/* The latest birth_ns up to limit_ns; 0: none. O(n). */
uint64_t ledger_latest_ns(const struct ledger *l, uint64_t limit_ns);

/* A record's slot, below ledger_max(). Callers may index arrays by slot. */
uint32_t ledger_slot(const struct ledger *l, const struct allocation *a);
uint32_t ledger_max(const struct ledger *l);

/* The record in a slot; NULL if it is FREE or out of range. */
const struct allocation *ledger_at(const struct ledger *l, uint32_t slot);

#endif
