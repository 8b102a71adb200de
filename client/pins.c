/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/pins.h"

#include "common/units.h"

#define PIN_MAX (16 * MIB) /* in one go */

static void release(struct pin *pin)
{
	if (pin->mr)
		ibv_dereg_mr(pin->mr);
	*pin = (struct pin){ 0 };
}

void pins_clear(struct pins *p)
{
	for (unsigned i = 0; p->any && i < PINS; i++)
		release(&p->items[i]);
	p->any = false;
}

/* The oldest one, which no outstanding work request uses: there are more than can be in use. */
static struct pin *reusable(struct pins *p)
{
	struct pin *best = &p->items[0];

	for (unsigned i = 0; i < PINS; i++) {
		struct pin *pin = &p->items[i];

		if (!pin->mr)
			return pin;
		if (pin->used < best->used)
			best = pin;
	}
	return best;
}

struct ibv_mr *pins_get(struct pins *p, struct ibv_pd *pd, uintptr_t start, size_t len,
	uintptr_t end, bool read, uint64_t number)
{
	struct pin *pin;

	for (unsigned i = 0; p->any && i < PINS; i++) {
		pin = &p->items[i];
		if (pin->mr && pin->start <= start && start + len <= pin->end) {
			pin->used = number;
			return pin->mr;
		}
	}
	if (end - start > PIN_MAX)
		end = start + PIN_MAX;
	pin = reusable(p);
	release(pin);
	/* Without LOCAL_WRITE the source of a write may be read-only memory. */
	pin->mr = ibv_reg_mr(pd, (void *)start, end - start, read ? IBV_ACCESS_LOCAL_WRITE : 0);
	if (!pin->mr)
		return NULL;
	pin->start = start;
	pin->end = end;
	pin->used = number;
	p->any = true;
	p->made++;
	return pin->mr;
}
