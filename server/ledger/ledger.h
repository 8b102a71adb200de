/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger: who holds what, since when, from where. The one source of truth; the allocators' free
 * lists are rebuilt from it.
 *
 * One 64-byte record per allocation, in a table (server/ledger/table.h). A record is filled while its state
 * is FREE and published by the state word, and it is FREE again before its block is: a kill between
 * any two instructions leaves every block either accounted for or free, never both.
 *
 *	FREE ──add──▶ LIVE ──▶ REVOKING ──▶ QUARANTINE ──▶ FREE
 *	                          └──────▶ ZOMBIE (revoke not confirmed: never reused by this process;
 *	                                           QUARANTINE when a new rmemd finds it)
 *
 * Pure but for its file. One thread writes; the pointers it hands out stay valid until ledger_close()
 * but the caller must not change records except through these functions.
 */
#ifndef RMEM_SERVER_LEDGER_LEDGER_H
#define RMEM_SERVER_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/ledger/accounts.h"
#include "server/ledger/allocation.h"

struct ledger;

/* The version of all that is stored here: another one's file is refused. */
#define LEDGER_FORMAT 2

/*
 * max: allocations, and so slots, at most. What a former process left behind is indexed again; a
 * record that cannot be right (a checksum, a field out of range, a serial number twice or one that was never given
 * (server/ledger/numbering.h), two blocks that overlap: then the older one stays) is left out and counted. Its slot is not used,
 * and its bytes stay readable until ledger_drop_rejected(). ERRORS: as table_open(), -ENOMEM.
 */
int ledger_open(struct ledger **out, int dir, const char *name, uint32_t max);
void ledger_close(struct ledger *l);              /* NULL is fine */
uint64_t ledger_inode(const struct ledger *l);    /* of its file; 0: unknown */
uint32_t ledger_rejected(const struct ledger *l); /* records left out by ledger_open() */

/* The records left out, by ascending slot: any field may be wrong. Start with *cursor = 0; NULL ends. */
const struct allocation *ledger_next_rejected(const struct ledger *l, uint32_t *cursor);

/*
 * Make the slots of the records left out FREE, and usable. Not before everything that no record of
 * the ledger covers has been wiped: nobody can say which block theirs was.
 */
void ledger_drop_rejected(struct ledger *l);

/*
 * Publish a LIVE allocation: draft's state and serial are ignored. *out stays valid until the record
 * is FREE again. -ENOSPC when every slot is taken or the file cannot grow, -EEXIST when addr is in a
 * block of the ledger, -EINVAL for a draft that ledger_open() would leave out.
 */
int ledger_add(struct ledger *l, const struct allocation *draft, const struct allocation **out);

/* Move along the arrows above; ALLOCATION_FREE ends the record. -EINVAL for any other move. */
int ledger_set_state(struct ledger *l, const struct allocation *a, enum allocation_state state);

/* The allocation (of any state but FREE) that starts at addr / whose block contains it, or NULL. */
const struct allocation *ledger_find(const struct ledger *l, uint64_t addr);
const struct allocation *ledger_find_containing(const struct ledger *l, uint64_t addr);

/* Every record that is not FREE, by ascending slot: start with *cursor = 0; NULL at the end. */
const struct allocation *ledger_next(const struct ledger *l, uint32_t *cursor);

/*
 * A snapshot: every record that is not FREE at the beginning, as it was then. Fetched in pieces, at most max at a time,
 * with their slots; 0: that was all. The ledger may change meanwhile. One snapshot at a time: -EBUSY, -ENOMEM.
 * ledger_end_snapshot() says -ENOMEM if not every record could be kept.
 */
int ledger_begin_snapshot(struct ledger *l);
size_t ledger_next_of_snapshot(
	struct ledger *l, uint32_t *slots, struct allocation *records, size_t max);
int ledger_end_snapshot(struct ledger *l);

/*
 * The allocations (of any state but FREE) of the session in a slot, youngest first: NULL starts,
 * NULL ends. The current one may be freed when the next one has been fetched.
 */
const struct allocation *ledger_next_of_session(
	const struct ledger *l, uint32_t session, const struct allocation *prev);

/* Of that session, not FREE. O(1). */
uint32_t ledger_session_count(const struct ledger *l, uint32_t session);
uint64_t ledger_session_bytes(const struct ledger *l, uint32_t session); /* in blocks */

/* The same of one session of that slot, by its serial number. O(1), unless others' memory is listed there: accounts.h. */
struct ledger_share ledger_session_share(const struct ledger *l, uint32_t session, uint64_t serial);

/* What of it is LIVE on a node. O(1). */
struct ledger_share ledger_session_live(const struct ledger *l, uint32_t session, unsigned node);

/*
 * The session with that serial number, in that slot, is connected; 0: none in that slot is. Whose memory counts as live
 * and whose as courtesy depends on it. Called by the session table.
 */
void ledger_connect(struct ledger *l, uint32_t session, uint64_t serial);

/* What of a node (below ADDR_MAX_NODES) is lent, by class and in all. O(1). */
const struct ledger_account *ledger_account(const struct ledger *l, unsigned node);
struct ledger_share ledger_node_share(const struct ledger *l, unsigned node);
/* Records (of any state but FREE) that name that site. O(1). */
uint32_t ledger_site_count(const struct ledger *l, uint32_t site);

uint32_t ledger_count(const struct ledger *l); /* not FREE */

/* The latest birth of those that are not after limit_ns; 0: none. */
uint64_t ledger_latest_ns(const struct ledger *l, uint64_t limit_ns);

/* Which slot a record is in: what user-side arrays are indexed by. */
uint32_t ledger_slot(const struct ledger *l, const struct allocation *a);
uint32_t ledger_max(const struct ledger *l);

/* The record in a slot; NULL if it is FREE or out of range. */
const struct allocation *ledger_at(const struct ledger *l, uint32_t slot);

#endif
