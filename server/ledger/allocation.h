/* SPDX-License-Identifier: BSD-3-Clause */
/* An allocation's record in the ledger (server/ledger/ledger.h). Pure. */
#ifndef RMEM_SERVER_LEDGER_ALLOCATION_H
#define RMEM_SERVER_LEDGER_ALLOCATION_H

#include <stdint.h>

#include "common/addr.h"
#include "server/base/block.h"

#define SESSIONS_MAX 65536 /* slots of the session table (server/ledger/sessions.h) */
#define SITES_MAX 16384    /* call site numbers; 0 is "unknown" */
#define UNSHARED_MAX 65535

/*
 * Stored: values are never reused. Any two differ in every byte: damage to fewer than four bytes yields an invalid
 * state, never FREE. So the memory of a damaged record is not lent.
 */
enum allocation_state {
	ALLOCATION_FREE = 0,
	ALLOCATION_LIVE = 0x11111111,       /* lent */
	ALLOCATION_REVOKING = 0x22222222,   /* freed or reclaimed; revocation not confirmed yet */
	ALLOCATION_QUARANTINE = 0x44444444, /* inaccessible to every NIC; being wiped */
	ALLOCATION_ZOMBIE = 0x55555555,     /* revocation was never confirmed */
};

#define ALLOCATION_ON_NODE 128

struct allocation {
	uint32_t state;          /* enum allocation_state; written last, read first */
	uint32_t session;        /* slot in the session table */
	uint64_t session_serial; /* tells the sessions of a slot apart */
	uint64_t addr;
	uint64_t bytes;    /* requested */
	uint64_t birth_ns; /* server time (server/ledger/timeline.h) */
	uint64_t serial;   /* unique, ascending, never 0: the allocation's id */
	uint32_t site;     /* slot in the site table, 0: unknown */
	uint32_t seq;      /* its request's sequence number: identifies a repeated request */
	/*
	 * 0, or ALLOCATION_ON_NODE + a node if the segment has not its node's number. In format 2: log2 of the block's
	 * bytes, which was a power of two.
	 */
	uint8_t order_or_node;
	uint8_t size_class; /* 0: a block of its own; else a slab of this class (common/size_class.h) */
	/* These two are changed by one store (ledger_unshare()). */
	uint16_t unshared; /* how often its shares were revoked */
	uint32_t check;    /* checksum over all but state: ledger_record_check() */
};
_Static_assert(sizeof(struct allocation) == 64, "ledger records are 64 bytes");

static inline uint64_t allocation_block_bytes(const struct allocation *a)
{
	return block_bytes_for(a->bytes);
}

/* The NUMA node of its memory. The pool checks it against the segment that the address is in. */
static inline unsigned allocation_node(const struct allocation *a)
{
	if (a->order_or_node >= ALLOCATION_ON_NODE)
		return (unsigned)a->order_or_node - ALLOCATION_ON_NODE;
	return addr_segment(a->addr) % ADDR_MAX_NODES;
}

static inline void allocation_set_node(struct allocation *a, unsigned node)
{
	a->order_or_node = node == addr_segment(a->addr) ? 0 : (uint8_t)(ALLOCATION_ON_NODE + node);
}

const char *allocation_state_name(uint32_t state);

#endif
