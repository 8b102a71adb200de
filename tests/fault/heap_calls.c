/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librmem takes memory for its private heap in large pieces, so that a failing mmap() reaches few of the places that
 * allocate. In the librmem of the scenario the linker puts these functions in front of the heap (--wrap): they ask the
 * interposer, if it is there.
 */
#include "common/heap.h"
#include "tests/fault/interpose.h"

#pragma weak fault_hit

void *__real_heap_alloc(struct heap *h, size_t bytes);
void *__real_heap_grow(struct heap *h, void *p, size_t old_bytes, size_t bytes);
void *__wrap_heap_alloc(struct heap *h, size_t bytes);
void *__wrap_heap_grow(struct heap *h, void *p, size_t old_bytes, size_t bytes);

void *__wrap_heap_alloc(struct heap *h, size_t bytes)
{
	return fault_hit && fault_hit(FAULT_heap_alloc, ORIGIN) ? NULL
								: __real_heap_alloc(h, bytes);
}

void *__wrap_heap_grow(struct heap *h, void *p, size_t old_bytes, size_t bytes)
{
	return fault_hit && fault_hit(FAULT_heap_grow, ORIGIN)
		       ? NULL
		       : __real_heap_grow(h, p, old_bytes, bytes);
}
