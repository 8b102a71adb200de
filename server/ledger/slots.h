/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which records of a table are in use. The lowest vacant slot is given first, so that a file stays
 * as short as its contents. A slot can also be set aside: not in use, and never given out.
 *
 * Pure; one thread. Costs memory only for what was used.
 */
#ifndef RMEM_SERVER_LEDGER_SLOTS_H
#define RMEM_SERVER_LEDGER_SLOTS_H

#include "server/base/bitset.h"

#define SLOT_NONE UINT32_MAX

struct slots {
	struct bitset taken;
	struct bitset vacant; /* below high; everything from high on is vacant too */
	uint32_t high;
	uint32_t max;
	uint32_t count; /* taken */
};

int slots_create(struct slots *s, uint32_t max); /* -ENOMEM */
void slots_destroy(struct slots *s);             /* of a zeroed struct is fine */

int slots_take(struct slots *s, uint32_t *out_slot); /* -ENOSPC */
void slots_give(struct slots *s, uint32_t slot);     /* a taken one */

/* Recovery: set a slot aside; then perhaps take just this one. */
void slots_set_aside(struct slots *s, uint32_t slot);
void slots_occupy(struct slots *s, uint32_t slot);

bool slots_is_aside(const struct slots *s, uint32_t slot);

static inline bool slots_has(const struct slots *s, uint32_t slot)
{
	return bitset_test(&s->taken, slot);
}

/* The lowest taken slot that is not below from, or SLOT_NONE. */
uint32_t slots_next(const struct slots *s, uint32_t from);

#endif
