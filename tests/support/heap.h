/* SPDX-License-Identifier: BSD-3-Clause */
/* A heap for the tests of a program: the group's setup and teardown. */
#ifndef RMEM_TESTS_SUPPORT_HEAP_H
#define RMEM_TESTS_SUPPORT_HEAP_H

#include "common/heap.h"

static struct heap *heap;

static inline int heap_begin(void **state)
{
	(void)state;
	heap = heap_create();
	return heap ? 0 : -1;
}

static inline int heap_end(void **state)
{
	(void)state;
	heap_destroy(heap);
	return 0;
}

#endif
