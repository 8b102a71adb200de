/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/slots.h"

#include <errno.h>
#include <string.h>

int slots_create(struct slots *s, uint32_t max)
{
	int err;

	memset(s, 0, sizeof(*s));
	s->max = max;
	err = bitset_create(&s->taken, max);
	if (!err)
		err = bitset_create(&s->vacant, max);
	if (err)
		slots_destroy(s);
	return err;
}

void slots_destroy(struct slots *s)
{
	if (!s)
		return;
	bitset_destroy(&s->taken);
	bitset_destroy(&s->vacant);
	memset(s, 0, sizeof(*s));
}

void slots_occupy(struct slots *s, uint32_t slot)
{
	bitset_clear(&s->vacant, slot);
	bitset_set(&s->taken, slot);
	s->count++;
}

int slots_take(struct slots *s, uint32_t *out_slot)
{
	uint64_t slot = bitset_next(&s->vacant, 0);

	if (slot == BITSET_NONE) {
		if (s->high == s->max)
			return -ENOSPC;
		slot = s->high++;
	}
	slots_occupy(s, (uint32_t)slot);
	*out_slot = (uint32_t)slot;
	return 0;
}

void slots_give(struct slots *s, uint32_t slot)
{
	bitset_clear(&s->taken, slot);
	bitset_set(&s->vacant, slot);
	s->count--;
}

void slots_set_aside(struct slots *s, uint32_t slot)
{
	while (s->high < slot)
		bitset_set(&s->vacant, s->high++);
	if (s->high == slot)
		s->high++;
	bitset_clear(&s->vacant, slot);
}

bool slots_is_aside(const struct slots *s, uint32_t slot)
{
	return slot < s->high && !bitset_test(&s->vacant, slot) && !bitset_test(&s->taken, slot);
}

uint32_t slots_next(const struct slots *s, uint32_t from)
{
	uint64_t slot = bitset_next(&s->taken, from);

	return slot == BITSET_NONE ? SLOT_NONE : (uint32_t)slot;
}
