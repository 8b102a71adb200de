/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private memory for what holds remote addresses or keys. It lies in mappings of its own, named "rmem" in
 * /proc/PID/maps and left out of core dumps: no key ends up in a dump. A search of the process for remote addresses
 * leaves it out too (common/private_memory.h). It does not call malloc(), which the program may have replaced with something that
 * calls us.
 *
 * Any thread. Its lock is held for a few instructions, or for one mmap().
 */
#ifndef RMEM_COMMON_HEAP_H
#define RMEM_COMMON_HEAP_H

#include <stddef.h>

struct heap;

/* NULL: out of memory. */
struct heap *heap_create(void);

/* Gives everything back at once, also in a child after fork(). NULL is fine. */
void heap_destroy(struct heap *h);

/* Zeroed, at a multiple of 64 bytes; of a page from HEAP_MAPPED_MIN on. NULL: out of memory. */
#define HEAP_MAPPED_MIN ((size_t)64 << 10)
void *heap_alloc(struct heap *h, size_t bytes);

/* bytes: as allocated. NULL is fine. */
void heap_free(struct heap *h, void *p, size_t bytes);

/* As realloc(): the content moves, what is added is zeroed. NULL: out of memory, and p is as it was. */
void *heap_grow(struct heap *h, void *p, size_t old_bytes, size_t bytes);

#endif
