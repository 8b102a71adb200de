/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session table: one record per client process that holds memory or is connected, with all that a leak report says
 * about the process. A record outlives the connection, the process and (as a file) rmemd.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_SESSIONS_H
#define RMEM_SERVER_LEDGER_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/message.h"
#include "server/ledger/allocation.h"
#include "server/ledger/evidence.h"

/* Version of the stored format. Format 4 is read too: there, marks was 0 or SESSION_NO_SITES. */
#define SESSIONS_FORMAT 5
#define SESSIONS_OLDEST 4

/* Stored: values are never reused. */
enum session_state {
	SESSION_NONE = 0,
	SESSION_CONNECTED = 1,
	SESSION_DETACHED = 2, /* no connection; may resume */
	SESSION_CLOSED = 3,   /* the client closed it */
	SESSION_DEAD = 4,     /* holder proved gone */
};

/*
 * A fencing token identifies one lease epoch of a session. A session that resumes after its lease expired gets a new
 * token. Locks are held under a token, so it has at most 40 bits. A retired token is never used again, even after
 * restarts.
 */
#define FENCING_TOKEN_MAX ((1ULL << 40) - 1)
#define FENCING_TOKEN_RETIRED (1ULL << 63)

/* Bits of a session's marks, which are one word so that a kill leaves the old ones or the new ones. */
#define SESSION_NO_SITES 1U       /* the client's site numbers may be reused for other sites */
#define SESSION_EXACT 2U          /* JOURNAL_EXACT, else JOURNAL_LAZY */
#define SESSION_JOURNALED_SHIFT 2 /* the rest: seconds from opened_ns to session_journaled_ns() */
#define SESSION_JOURNALED_MAX (UINT32_MAX >> SESSION_JOURNALED_SHIFT)

struct session_record {
	uint32_t state;         /* enum session_state; written last */
	uint32_t evidence;      /* enum holder_evidence, with DEAD and CLOSED */
	uint64_t serial;        /* unique, ascending, never 0 */
	uint64_t fencing_token; /* unique, ascending, never 0; may include FENCING_TOKEN_RETIRED */
	uint8_t id[ID_SIZE];
	uint8_t secret[ID_SIZE];
	uint64_t opened_ns; /* server time (server/ledger/timeline.h), as all _ns below */
	uint64_t seen_ns;   /* last sign of life */
	uint64_t state_since_ns;
	uint64_t expired_ns; /* when the lease expired; 0: not expired */
	uint32_t last_seq;   /* last executed request: if repeated, it gets the same answer */
	uint32_t marks;      /* above */
	struct identity identity;
	uint64_t check; /* checksum over constant fields: serial, id, secret, opened_ns, identity */
};

/*
 * When rmemd last saw that the session's records of its objects were complete (HEARTBEAT_JOURNALED), rounded down to a
 * second after its opening.
 */
static inline uint64_t session_journaled_ns(const struct session_record *r)
{
	return r->opened_ns + (r->marks >> SESSION_JOURNALED_SHIFT) * NSEC_PER_SEC;
}

struct ledger;
struct sessions;

/*
 * Indexes the records of earlier processes. Invalid records are rejected and counted, and their slots are not used:
 * wrong checksum, field out of range, unterminated text, duplicate id, serial number or fencing token, or a number that
 * was never given (server/ledger/numbering.h). ERRORS: as table_open(), -ENOMEM.
 */
int sessions_open(struct sessions **out, int dir, const char *name);
void sessions_close(struct sessions *s); /* NULL is fine */

/* rmemd has started: an earlier rmemd, which has fewer slots, cannot read the file from now on. */
void sessions_settle(struct sessions *s);

/* Limit the number of sessions from now on. Default and maximum: SESSIONS_MAX. */
void sessions_limit(struct sessions *s, uint32_t max);
bool sessions_are_full(const struct sessions *s);
uint32_t sessions_rejected(const struct sessions *s);

/*
 * The ledger lists memory of the session with this serial number in this slot. If the table lacks the session (file
 * lost, damaged, or an older copy), its number is never given again, its slot is not used by this process, and it
 * counts as rejected. A serial number that was never given does not displace the slot's session. Call before the first
 * sessions_add().
 */
void sessions_expect(struct sessions *s, uint32_t slot, uint64_t serial);

/* A line of history has this serial number: it is never given again. Call before the first sessions_add(). */
void sessions_skip(struct sessions *s, uint64_t serial);

/*
 * Add a record, CONNECTED, with a fencing token. -EUSERS: the table is full, or no numbers are left. -EEXIST: the id is
 * in the table. -ENOSPC: the file cannot grow.
 */
int sessions_add(struct sessions *s, const uint8_t id[ID_SIZE], const uint8_t secret[ID_SIZE],
	const struct identity *identity, uint64_t now_ns, uint32_t *out_slot);

/*
 * Tell the ledger which sessions there are (ledger_join()) and are connected (ledger_connect()), now and on every change. The ledger must stay open
 * as long as the table changes.
 */
void sessions_tell(struct sessions *s, struct ledger *ledger);

/* The slot of the session with this id, or -ENOENT. */
int sessions_find(const struct sessions *s, const uint8_t id[ID_SIZE], uint32_t *out_slot);

/* The slot of the session whose token is fencing_token and not retired, or -ENOENT. */
int sessions_find_token(const struct sessions *s, uint64_t fencing_token, uint32_t *out_slot);
/* Was this token ever given? */
bool sessions_gave_token(const struct sessions *s, uint64_t fencing_token);
/* Retire the session's token. Stored, so later processes know. */
void sessions_retire_token(struct sessions *s, uint32_t slot);
/* Give the session a new token. -EUSERS: none left, or the slot is not in use. */
int sessions_renew_token(struct sessions *s, uint32_t slot);

/* The record in a slot; NULL if it is NONE or out of range. Only these functions change records. */
const struct session_record *sessions_get(const struct sessions *s, uint32_t slot);

/* These setters ignore a slot that is not in use. */
void sessions_set_last_seq(struct sessions *s, uint32_t slot, uint32_t seq);
void sessions_set_seen(struct sessions *s, uint32_t slot, uint64_t seen_ns);
void sessions_set_expired(
	struct sessions *s, uint32_t slot, uint64_t expired_ns); /* 0: not expired */
/* The client's site numbers may be reused from now on. Stored, so later processes know. */
void sessions_set_no_sites(struct sessions *s, uint32_t slot);
void sessions_set_journal(struct sessions *s, uint32_t slot, enum journal_mode mode);
void sessions_set_journaled(struct sessions *s, uint32_t slot, uint64_t journaled_ns);

/* Any state but NONE. */
void sessions_set_state(struct sessions *s, uint32_t slot, enum session_state state,
	enum holder_evidence evidence, uint64_t now_ns);

/* Remove the session, erase its secret and free the slot. */
void sessions_remove(struct sessions *s, uint32_t slot);

/* Iterate over records that are not NONE, by ascending slot. Start with *cursor = 0; NULL at the end. */
const struct session_record *sessions_next(
	const struct sessions *s, uint32_t *cursor, uint32_t *out_slot);

/* The latest time up to limit_ns in any record; 0: none. O(n). */
uint64_t sessions_latest_ns(const struct sessions *s, uint64_t limit_ns);

uint32_t sessions_high(const struct sessions *s); /* above every slot in use */
uint32_t sessions_count(const struct sessions *s);
uint32_t sessions_count_in(const struct sessions *s, enum session_state state);

const char *session_state_name(uint32_t state); /* "connected", "detached", "closed", "dead" */

#endif
