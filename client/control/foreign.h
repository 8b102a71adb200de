/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another session's slab, of which this session has objects attached: which of them is a block of its own, by slot.
 *
 * The caller locks, except for foreign_at(), which any thread may call at any time. Its memory stays one's until the
 * heap is destroyed, like a block's. Pure.
 */
#ifndef RMEM_CLIENT_CONTROL_FOREIGN_H
#define RMEM_CLIENT_CONTROL_FOREIGN_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/heap.h"

struct block;

/* Where a slab lies, and how it is divided. */
struct foreign_slab {
	uint64_t addr, bytes;
	unsigned size_class;
};

struct foreign {
	_Atomic uint64_t addr;
	_Atomic uint32_t slots, slot_bytes;
	uint32_t attached; /* objects */
	uint32_t over;     /* of them, those that are gone, and that the program has not given up */
	uint32_t room;     /* slots that its memory has room for, a power of 2 */
	struct foreign *next; /* among those of no slab */
	_Atomic(struct block *) objects[];
};

/* One of those that are of no slab, or a new one. NULL: out of memory, or there is no such slab. */
struct foreign *foreign_create(
	struct heap *heap, struct foreign **unused, const struct foreign_slab *slab);
void foreign_release(struct foreign *f, struct foreign **unused);

/* The slot that begins there; NULL: none does. */
_Atomic(struct block *) *foreign_slot(struct foreign *f, uint64_t addr);

/* The block of the object in whose slot that address is, or NULL. */
static inline struct block *foreign_at(const struct foreign *f, uint64_t addr)
{
	const uint64_t offset = addr - atomic_load_explicit(&f->addr, memory_order_relaxed);
	const uint64_t slot = offset / atomic_load_explicit(&f->slot_bytes, memory_order_relaxed);

	return slot < atomic_load_explicit(&f->slots, memory_order_relaxed)
		       ? atomic_load_explicit(&f->objects[slot], memory_order_acquire)
		       : NULL;
}

#endif
