/* SPDX-License-Identifier: BSD-3-Clause */
/* An allocation's record, as the ledger keeps and stores it (server/ledger/ledger.h). Pure. */
#ifndef RMEM_SERVER_LEDGER_ALLOCATION_H
#define RMEM_SERVER_LEDGER_ALLOCATION_H

#include <stdint.h>

#define SESSIONS_MAX 16384 /* slots of the session table (server/ledger/sessions.h) */
#define SITES_MAX 16384    /* numbers of call sites, of which 0 stands for "unknown" */

/*
 * Stored: values are never reused. Any two differ in every byte, so that damage to fewer than four of
 * them makes a state that does not exist, and never FREE: the memory of a damaged record is not lent.
 */
enum allocation_state {
	ALLOCATION_FREE = 0,
	ALLOCATION_LIVE = 0x11111111,       /* lent */
	ALLOCATION_REVOKING = 0x22222222,   /* given back or reclaimed; not confirmed by the NIC */
	ALLOCATION_QUARANTINE = 0x44444444, /* nobody can reach it; being wiped */
	ALLOCATION_ZOMBIE = 0x55555555,     /* the NIC did not confirm */
};

struct allocation {
	uint32_t state;          /* enum allocation_state; written last, read first */
	uint32_t session;        /* slot in the session table */
	uint64_t session_serial; /* which session of that slot */
	uint64_t addr;
	uint64_t bytes;    /* asked for */
	uint64_t birth_ns; /* server time (server/ledger/timeline.h) */
	uint64_t serial;   /* unique, ascending, never 0: the allocation's id */
	uint32_t site;     /* slot in the site table, 0: unknown */
	uint32_t seq;      /* of the request that made it: a repeated request finds it */
	uint8_t order;     /* log2 of the block's bytes */
	uint8_t reserved[3];
	uint32_t check; /* over all but state: ledger_record_check() */
};
_Static_assert(sizeof(struct allocation) == 64, "ledger records are 64 bytes");

static inline uint64_t allocation_block_bytes(const struct allocation *a)
{
	return 1ULL << a->order;
}

const char *allocation_state_name(uint32_t state);

#endif
