/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/page_map.h"

#include <errno.h>
#include <stddef.h>

struct page_map *page_map_create(struct heap *heap)
{
	struct page_map *m = heap_alloc(heap, sizeof(*m));

	if (m)
		m->heap = heap;
	return m;
}

int page_map_reserve(struct page_map *m)
{
	while (m->nspare < PAGE_MAP_NODES_MAX) {
		struct page_map_node *node = heap_alloc(m->heap, sizeof(*node));

		if (!node)
			return -ENOMEM;
		m->spare[m->nspare++] = node;
	}
	return 0;
}

bool page_map_fits(uint64_t addr, uint64_t bytes)
{
	return bytes && addr_is_remote(addr) && addr % (1U << PAGE_MAP_SHIFT) == 0 &&
	       bytes <= ADDR_OFFSET_MASK + 1 - addr_offset(addr);
}

/* How many pages a slot of this level stands for, as a power of 2. The analyzer does not know how deep it is. */
static unsigned slot_shift(unsigned level)
{
	return level < PAGE_MAP_LEVELS ? PAGE_MAP_BITS * (PAGE_MAP_LEVELS - 1 - level) : 0;
}

static struct page_map_node *take_spare(struct page_map *m)
{
	return m->spare[--m->nspare];
}

/* The pages from first to last, all below this node. */
static void set_below(struct page_map *m, struct page_map_node *node, unsigned level,
	uint64_t first, uint64_t last, uintptr_t slot)
{
	const unsigned shift = slot_shift(level);
	const uint64_t span = (1ULL << shift) - 1;

	for (uint64_t page = first; page <= last; page = (page | span) + 1) {
		page_map_slot *at = &node->slots[page >> shift & (PAGE_MAP_SLOTS - 1)];
		const uintptr_t old = atomic_load_explicit(at, memory_order_relaxed);
		const uint64_t end = (page | span) < last ? page | span : last;
		struct page_map_node *below = old & 1 ? NULL : (struct page_map_node *)old;

		/* Below a slot that has had a node, it is filled: a reader may be in there. */
		if (!below && (page & span) == 0 && end == (page | span)) {
			atomic_store_explicit(at, slot, memory_order_release);
			continue;
		}
		if (!below && !slot)
			continue;
		if (!below) {
			below = take_spare(m);
			atomic_store_explicit(at, (uintptr_t)below, memory_order_release);
		}
		set_below(m, below, level + 1, page, end, slot);
	}
}

void page_map_set(struct page_map *m, uint64_t addr, uint64_t bytes, void *value)
{
	_Atomic(struct page_map_node *) *top = &m->segments[addr_segment(addr)];
	const uint64_t first = addr_offset(addr) >> PAGE_MAP_SHIFT;
	const uint64_t last = (addr_offset(addr) + bytes - 1) >> PAGE_MAP_SHIFT;
	struct page_map_node *node = atomic_load_explicit(top, memory_order_relaxed);

	if (!node && !value)
		return;
	if (!node) {
		node = take_spare(m);
		atomic_store_explicit(top, node, memory_order_release);
	}
	set_below(m, node, 0, first, last, value ? (uintptr_t)value | 1 : 0);
}

static void *first_below(
	const struct page_map_node *node, unsigned level, uint64_t first, uint64_t last)
{
	const unsigned shift = slot_shift(level);
	const uint64_t span = (1ULL << shift) - 1;

	for (uint64_t page = first; page <= last; page = (page | span) + 1) {
		const uintptr_t slot = atomic_load_explicit(
			&node->slots[page >> shift & (PAGE_MAP_SLOTS - 1)], memory_order_acquire);
		const uint64_t end = (page | span) < last ? page | span : last;
		void *found = NULL;

		if (slot & 1)
			return (void *)(slot - 1);
		if (slot)
			found = first_below(
				(const struct page_map_node *)slot, level + 1, page, end);
		if (found)
			return found;
	}
	return NULL;
}

void *page_map_first(const struct page_map *m, uint64_t addr, uint64_t bytes)
{
	const struct page_map_node *node =
		atomic_load_explicit(&m->segments[addr_segment(addr)], memory_order_acquire);

	if (!node)
		return NULL;
	return first_below(node, 0, addr_offset(addr) >> PAGE_MAP_SHIFT,
		(addr_offset(addr) + bytes - 1) >> PAGE_MAP_SHIFT);
}
