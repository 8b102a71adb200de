/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is at a remote address: a pointer for each page, looked up without a lock. A radix tree over the segment
 * and the page number in it (common/addr.h); a long run takes one slot where it fills a node.
 *
 * Nodes stay until the map is destroyed, so a reader never finds one gone: 8 KiB per 4 MiB of addresses ever used.
 *
 * Pure. One thread changes the map at a time (the owner locks), any number read.
 */
#ifndef RMEM_CLIENT_BASE_PAGE_MAP_H
#define RMEM_CLIENT_BASE_PAGE_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/heap.h"

#define PAGE_MAP_SHIFT 12 /* of a page */
#define PAGE_MAP_BITS 10  /* of a node */
#define PAGE_MAP_SLOTS (1U << PAGE_MAP_BITS)
#define PAGE_MAP_LEVELS 3 /* of nodes, below the segments */
#define PAGE_MAP_NODES_MAX \
	5 /* new ones that one run can need: one on top, two edges on each level below */

/* 0: nothing; odd: the value of all pages below, plus 1; else the node below. In the lowest nodes only values. */
typedef _Atomic uintptr_t page_map_slot;

struct page_map_node {
	page_map_slot slots[PAGE_MAP_SLOTS];
};

struct page_map {
	struct heap *heap;
	_Atomic(struct page_map_node *) segments[ADDR_SEGMENTS];
	struct page_map_node *spare[PAGE_MAP_NODES_MAX];
	unsigned nspare;
};

/* NULL: out of memory. It goes with the heap. */
struct page_map *page_map_create(struct heap *heap);

/* So that the next page_map_set() has all it needs. 0 or -ENOMEM. */
int page_map_reserve(struct page_map *m);

/* Can this be in the map: not empty, a remote address at a page's beginning, and within one segment? */
bool page_map_fits(uint64_t addr, uint64_t bytes);

/*
 * The pages of [addr, addr + bytes), which fits, get this value, at least 2-aligned; NULL: nothing is there any more.
 * Setting one needs page_map_reserve() before; clearing needs nothing.
 */
void page_map_set(struct page_map *m, uint64_t addr, uint64_t bytes, void *value);

/* The value of the first page in [addr, addr + bytes) that has one, or NULL. */
void *page_map_first(const struct page_map *m, uint64_t addr, uint64_t bytes);

static inline unsigned page_map_index(uint64_t addr, unsigned level)
{
	return (unsigned)(addr >>
			  (PAGE_MAP_SHIFT + PAGE_MAP_BITS * (PAGE_MAP_LEVELS - 1 - level))) &
	       (PAGE_MAP_SLOTS - 1);
}

/* The value of the page that addr, which is remote, is in; or NULL. */
static inline void *page_map_get(const struct page_map *m, uint64_t addr)
{
	const struct page_map_node *node =
		atomic_load_explicit(&m->segments[addr_segment(addr)], memory_order_acquire);

	for (unsigned level = 0; node; level++) {
		const uintptr_t slot = atomic_load_explicit(
			&node->slots[page_map_index(addr, level)], memory_order_acquire);

		if (slot & 1)
			return (void *)(slot - 1);
		node = (const struct page_map_node *)slot;
	}
	return NULL;
}

#endif
