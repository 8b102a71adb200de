/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The allocations of one session as the library knows them: what every address is checked against
 * before anything is sent. They never overlap. Pure; the caller locks; pointers stay valid until
 * the next add or remove.
 *
 * An entry is removed by the program only, with rmem_free() or rmem_detach(). Until then its addresses mean this
 * allocation, also when it is gone: were they lent to the program again, what still uses them for the
 * lost one would reach the new one.
 */
#ifndef RMEM_CLIENT_CONTROL_ALLOCATIONS_H
#define RMEM_CLIENT_CONTROL_ALLOCATIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/message.h"

enum own_state {
	OWN_LIVE,
	OWN_FREEING, /* a FREE is on its way, and may have been carried out */
	OWN_FREED,   /* ... and was, after its caller had given up waiting */
	OWN_STALE, /* the server has, or may have, reclaimed it; of an attached one: its owner has freed it */
};

/* Where it was allocated, for messages. */
struct origin {
	uint32_t site;    /* the server's number; 0: unknown */
	const char *code; /* that called rmem_alloc(), as sites_code() has it; NULL: unknown */
};

struct own {
	uint64_t addr;
	uint64_t bytes;
	uint64_t id;     /* its serial number on the server */
	uint64_t serial; /* how many this session has had, with it: a later one has a greater */
	uint32_t slot;   /* small, and its own while it is here: an index for what belongs to it */
	enum own_state state;
	struct origin origin;
	bool attached; /* another session's, which shares it */
	uint8_t key[SHARE_KEY_SIZE];
};

struct allocations {
	struct own *items; /* by ascending address */
	size_t count, capacity;
	uint32_t *slots;          /* capacity of them: those from count on are free */
	_Atomic uint64_t serials; /* so far; may be read without a lock */
	size_t reserved;          /* STALE or FREED: the server may take these addresses for free */
};

void allocations_destroy(struct allocations *t); /* zeroed is fine; may be used again */

/* Make room, so that the next allocations_add() cannot fail for lack of memory. 0 or -ENOMEM. */
int allocations_reserve(struct allocations *t);

/* Add a LIVE one. -EEXIST if it overlaps another, -EINVAL if it is empty or wraps around, -ENOMEM. */
int allocations_add(
	struct allocations *t, uint64_t addr, uint64_t bytes, uint64_t id, struct origin origin);

/* The same for one that another session shares. */
int allocations_attach(struct allocations *t, uint64_t addr, uint64_t bytes, uint64_t id,
	const uint8_t key[SHARE_KEY_SIZE]);

void allocations_remove(struct allocations *t, struct own *own);
void allocations_set_state(struct allocations *t, struct own *own, enum own_state state);

/*
 * The server has lent [addr, addr + bytes), so what was there is gone: mostly what was attached, and then freed by its
 * owner. It becomes STALE. Returns how many did.
 */
unsigned allocations_displace(struct allocations *t, uint64_t addr, uint64_t bytes);

/* Ranges that cover all reserved addresses, ascending. Returns how many. O(1) if none is reserved, else O(count). */
unsigned allocations_reserved(const struct allocations *t, struct range out[AVOID_MAX]);

/* The one that starts at / wholly contains [addr, addr + bytes), or NULL. */
struct own *allocations_find(const struct allocations *t, uint64_t addr);
struct own *allocations_find_range(const struct allocations *t, uint64_t addr, uint64_t bytes);

/* The first that has a byte in [addr, addr + bytes), or NULL. */
struct own *allocations_overlap(const struct allocations *t, uint64_t addr, uint64_t bytes);

/* All that are this session's own. */
void allocations_mark_stale(struct allocations *t);

#endif
