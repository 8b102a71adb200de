/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session table: one record per client process that holds memory or is connected, with all that
 * a leak report says about it. It outlives the connection, the process and (as a file) rmemd.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_SESSIONS_H
#define RMEM_SERVER_LEDGER_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/ledger/allocation.h"
#include "server/ledger/evidence.h"

#define SESSIONS_FORMAT 4 /* the version of what is stored */

/* Stored: values are never reused. */
enum session_state {
	SESSION_NONE = 0,
	SESSION_CONNECTED = 1,
	SESSION_DETACHED = 2, /* no connection: may come back */
	SESSION_CLOSED = 3,   /* said goodbye */
	SESSION_DEAD = 4,     /* proved gone */
};

/*
 * A fencing token says under which tenure of its lease a session acts: it gets another one when it comes back after
 * its lease had expired. Locks are held under a fencing token, so it is at most 40 bits long. One that is retired
 * will not be acted under any more, whoever restarts.
 */
#define FENCING_TOKEN_MAX ((1ULL << 40) - 1)
#define FENCING_TOKEN_RETIRED (1ULL << 63)

struct session_record {
	uint32_t state;    /* enum session_state; written last */
	uint32_t evidence; /* enum holder_evidence, with DEAD and CLOSED */
	uint64_t serial;   /* unique, ascending, never 0 */
	uint64_t
		fencing_token; /* unique, ascending, never 0; with FENCING_TOKEN_RETIRED or without */
	uint8_t id[ID_SIZE];
	uint8_t secret[ID_SIZE];
	uint64_t opened_ns; /* server time (server/ledger/timeline.h), like all below */
	uint64_t seen_ns;   /* last sign of life */
	uint64_t state_since_ns;
	uint64_t expired_ns; /* when the lease expired, 0 if it has not */
	uint32_t
		last_seq; /* last request that was carried out: a repeated one gets the same answer */
	uint32_t
		no_sites; /* not 0: its client's numbers of call sites may be those of others by now */
	struct identity identity;
	uint64_t check; /* over what never changes: serial, id, secret, opened_ns, identity */
};

struct ledger;
struct sessions;

/*
 * What a former process left behind is indexed again. A record that cannot be right (a checksum, a field out of
 * range, a text without an end, an id, serial number or fencing token twice, or a number that was never given
 * (server/ledger/numbering.h)) is left out and counted; its slot is not used again. ERRORS: as table_open(), -ENOMEM.
 */
int sessions_open(struct sessions **out, int dir, const char *name);
void sessions_close(struct sessions *s); /* NULL is fine */

/* At most so many from now on, up to SESSIONS_MAX, which is the limit as long as no other one is set. */
void sessions_limit(struct sessions *s, uint32_t max);
bool sessions_are_full(const struct sessions *s);
uint32_t sessions_rejected(const struct sessions *s);

/*
 * The ledger lists memory of the session with that serial number in that slot. If the table does not have it (its file
 * was lost, damaged, or is an older copy), nobody else ever gets its number, nor its slot before a new process looks
 * again; it counts as rejected. A number that was never given takes no slot from a session. Before the first
 * sessions_add().
 */
void sessions_expect(struct sessions *s, uint32_t slot, uint64_t serial);

/*
 * A new record, CONNECTED, with a fencing token; -EUSERS when the table is full (or fencing tokens are), -EEXIST for an id that is in it, -ENOSPC
 * when the file cannot grow.
 */
int sessions_add(struct sessions *s, const uint8_t id[ID_SIZE], const uint8_t secret[ID_SIZE],
	const struct identity *identity, uint64_t now_ns, uint32_t *out_slot);

/*
 * The ledger is told which sessions are connected (ledger_connect()): now, and whenever that changes. It must stay open as
 * long as the table changes.
 */
void sessions_tell(struct sessions *s, struct ledger *ledger);

/* The slot with that id, or -ENOENT. */
int sessions_find(const struct sessions *s, const uint8_t id[ID_SIZE], uint32_t *out_slot);

/* The slot of the session that has that fencing token, not retired; or -ENOENT. */
int sessions_find_token(const struct sessions *s, uint64_t fencing_token, uint32_t *out_slot);
/* Has anybody ever had it? */
bool sessions_gave_token(const struct sessions *s, uint64_t fencing_token);
/* Its fencing token is not its any more: from now on, and for every later process. */
void sessions_retire_token(struct sessions *s, uint32_t slot);
/* It gets another one. 0, or -EUSERS: there are no more. */
int sessions_renew_token(struct sessions *s, uint32_t slot);

/* The record in a slot; NULL if it is NONE or out of range. It is changed by these functions only. */
const struct session_record *sessions_get(const struct sessions *s, uint32_t slot);

/* The last request that was carried out. Of these, a slot that is not in use is left alone. */
void sessions_set_last_seq(struct sessions *s, uint32_t slot, uint32_t seq);
void sessions_set_seen(struct sessions *s, uint32_t slot, uint64_t seen_ns);
void sessions_set_expired(struct sessions *s, uint32_t slot, uint64_t expired_ns); /* 0: not */
/* Its client's numbers of call sites may be those of others from now on, and for every later process. */
void sessions_set_no_sites(struct sessions *s, uint32_t slot);

/* state may be anything but NONE; a slot that is not in use is left alone. */
void sessions_set_state(struct sessions *s, uint32_t slot, enum session_state state,
	enum holder_evidence evidence, uint64_t now_ns);

/* Forget the session and its secret; the slot may be used again. */
void sessions_remove(struct sessions *s, uint32_t slot);

/* Every record that is not NONE, ascending: start with *cursor = 0; NULL at the end. */
const struct session_record *sessions_next(
	const struct sessions *s, uint32_t *cursor, uint32_t *out_slot);

/* The latest time in any record, of those that are not after limit_ns; 0: none. */
uint64_t sessions_latest_ns(const struct sessions *s, uint64_t limit_ns);

uint32_t sessions_count(const struct sessions *s);
uint32_t sessions_count_in(const struct sessions *s, enum session_state state);

const char *session_state_name(uint32_t state); /* "connected", "detached", "closed", "dead" */

#endif
