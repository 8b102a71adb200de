/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The set of a table's slots in use. The lowest vacant slot is taken first, which keeps the file short. A slot can also
 * be set aside: not in use, and never taken.
 *
 * Pure; one thread. Untouched pages of the sets use no memory.
 */
#ifndef RMEM_SERVER_LEDGER_SLOTS_H
#define RMEM_SERVER_LEDGER_SLOTS_H

#include "server/base/bitset.h"

#define SLOT_NONE UINT32_MAX

struct slots {
	struct bitset taken;
	struct bitset vacant; /* below high; slots from high on are vacant too */
	uint32_t high;
	uint32_t max;
	uint32_t count; /* of taken slots */
};

int slots_create(struct slots *s, uint32_t max); /* -ENOMEM */
void slots_destroy(struct slots *s);             /* zeroed is fine */

int slots_take(struct slots *s, uint32_t *out_slot); /* -ENOSPC */
void slots_give(struct slots *s, uint32_t slot);     /* a taken slot */

/* Recovery: set a slot aside; take a slot that was set aside. */
void slots_set_aside(struct slots *s, uint32_t slot);
void slots_occupy(struct slots *s, uint32_t slot);

bool slots_is_aside(const struct slots *s, uint32_t slot);

static inline bool slots_has(const struct slots *s, uint32_t slot)
{
	return bitset_test(&s->taken, slot);
}

/* The lowest taken slot at or above from, or SLOT_NONE. */
uint32_t slots_next(const struct slots *s, uint32_t from);

#endif
