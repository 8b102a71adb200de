/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AddressSanitizer cannot see what an RDMA device reads and writes: in a program built with it, local memory
 * is checked before it is handed over. Elsewhere this costs one comparison.
 */
#ifndef RMEM_CLIENT_BASE_POISON_H
#define RMEM_CLIENT_BASE_POISON_H

#include <stddef.h>

/* The sanitizer's own, if the program has it (sanitizer/asan_interface.h). */
extern void *__asan_region_is_poisoned(void *start, size_t bytes) __attribute__((weak));

/* The first byte of the range that must not be touched, or NULL. */
static inline const void *poison_find(const void *start, size_t bytes)
{
	if (!__asan_region_is_poisoned)
		return NULL;
	return __asan_region_is_poisoned((void *)start, bytes);
}

#endif
