/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The allocations of one session as the library knows them: what every address is checked against
 * before anything is sent. They never overlap. Pure; the caller locks; pointers stay valid until
 * the next add or remove.
 */
#ifndef RMEM_CLIENT_ALLOCATIONS_H
#define RMEM_CLIENT_ALLOCATIONS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"

enum own_state {
	OWN_LIVE,
	OWN_FREEING, /* a FREE is on its way, and may have been carried out */
	OWN_FREED,   /* ... and was, after its caller had given up waiting */
	OWN_STALE,   /* the server has, or may have, reclaimed it */
};

/* Where it was allocated, for messages. */
struct origin {
	uint32_t site;    /* the server's number; 0: unknown */
	const char *code; /* that called rmem_alloc(), as sites_code() has it; NULL: unknown */
};

struct own {
	uint64_t addr;
	uint64_t bytes;
	uint64_t serial; /* never the same for two allocations of a session */
	uint32_t slot;   /* small, and its own while it is here: an index for what belongs to it */
	enum own_state state;
	struct origin origin;
	bool attached; /* another session's, which shares it */
	uint8_t key[SHARE_KEY_SIZE];
};

struct allocations {
	struct own *items; /* by ascending address */
	size_t count, capacity;
	uint32_t *slots;  /* capacity of them: those from count on are free */
	uint64_t serials; /* so far */
};

void allocations_destroy(struct allocations *t); /* zeroed is fine; may be used again */

/* Make room, so that the next allocations_add() cannot fail for lack of memory. 0 or -ENOMEM. */
int allocations_reserve(struct allocations *t);

/*
 * Add a LIVE one. What it overlaps is forgotten if it is STALE, FREED or attached (the server lends that
 * memory anew); anything else is -EEXIST. -EINVAL if it is empty or wraps around, -ENOMEM.
 */
int allocations_add(struct allocations *t, uint64_t addr, uint64_t bytes, struct origin origin);

/* The same for one that another session shares; what is attached is not forgotten here. */
int allocations_attach(
	struct allocations *t, uint64_t addr, uint64_t bytes, const uint8_t key[SHARE_KEY_SIZE]);

void allocations_remove(struct allocations *t, struct own *own);

/* The one that starts at / wholly contains [addr, addr + bytes), or NULL. */
struct own *allocations_find(const struct allocations *t, uint64_t addr);
struct own *allocations_find_range(const struct allocations *t, uint64_t addr, uint64_t bytes);

/* All that are this session's own. */
void allocations_mark_stale(struct allocations *t);

#endif
