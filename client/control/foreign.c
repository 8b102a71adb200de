/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/foreign.h"

#include <stddef.h>
#include <utlist.h>

#include "common/size_class.h"

#define ROOM_MIN 64U

static struct foreign *find_unused(struct foreign **unused, uint32_t slots)
{
	struct foreign *f;

	LL_FOREACH (*unused, f) {
		if (f->room >= slots)
			break;
	}
	if (f)
		LL_DELETE(*unused, f);
	return f;
}

struct foreign *foreign_create(
	struct heap *heap, struct foreign **unused, const struct foreign_slab *slab)
{
	const uint32_t slots = slab_slots(slab->size_class, slab->bytes);
	struct foreign *f = slots ? find_unused(unused, slots) : NULL;
	uint32_t room = ROOM_MIN;

	if (!slots)
		return NULL;
	while (room < slots)
		room *= 2;
	if (!f) {
		f = heap_alloc(heap, sizeof(*f) + room * sizeof(f->objects[0]));
		if (!f)
			return NULL;
		f->room = room;
	}
	f->attached = f->over = 0;
	atomic_store(&f->addr, slab->addr);
	atomic_store(&f->slot_bytes, size_class_bytes(slab->size_class));
	atomic_store(&f->slots, slots);
	return f;
}

/* A reader that is late finds no object. */
void foreign_release(struct foreign *f, struct foreign **unused)
{
	atomic_store(&f->slots, 0);
	LL_PREPEND(*unused, f);
}

_Atomic(struct block *) *foreign_slot(struct foreign *f, uint64_t addr)
{
	const uint64_t offset = addr - f->addr;

	return offset % f->slot_bytes == 0 && offset / f->slot_bytes < f->slots
		       ? &f->objects[offset / f->slot_bytes]
		       : NULL;
}
