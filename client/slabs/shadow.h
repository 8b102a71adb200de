/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RMEM_CHECK=full: what is known of a slot beside its record. Pure. Any thread; the slot's holder writes.
 */
#ifndef RMEM_CLIENT_SLABS_SHADOW_H
#define RMEM_CLIENT_SLABS_SHADOW_H

#include "client/slabs/slab.h"

#define SHADOW_SITE 0x3fffU          /* that freed it last: the server's number, 0: unknown */
#define SHADOW_GUARDED (1U << 14)    /* a canary is behind the object */
#define SHADOW_FILLED (1U << 15)     /* the slot was filled when it was freed */
#define SHADOW_QUARANTINE (1U << 16) /* it was freed, and is kept from reuse */

/* 0: nothing is known. */
static inline uint32_t shadow_get(const struct slab *s, uint32_t slot)
{
	const _Atomic uint32_t *words = atomic_load_explicit(&s->shadow, memory_order_acquire);

	/* A slab that is used again has those of its last use. */
	if (!words || object_record_state(slab_record(s, slot)) == OBJECT_UNUSED)
		return 0;
	return atomic_load_explicit(&words[slot], memory_order_relaxed);
}

/* Without memory for it, nothing is known of the slab. */
static inline void shadow_set(struct slab *s, struct heap *heap, uint32_t slot, uint32_t word)
{
	_Atomic uint32_t *words = atomic_load_explicit(&s->shadow, memory_order_acquire), *made;

	if (!words) {
		made = heap_alloc(heap, s->room * sizeof(*made));
		if (made && atomic_compare_exchange_strong(&s->shadow, &words, made))
			words = made;
		else
			heap_free(heap, made, s->room * sizeof(*made));
	}
	if (words)
		atomic_store_explicit(&words[slot], word, memory_order_relaxed);
}

#endif
