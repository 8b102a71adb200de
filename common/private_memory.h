/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which memory of this process is the library's own, so that a search for remote addresses leaves it out: what is
 * there is no reference of the program. Names of mappings do not tell: a program can give its own the same, a kernel
 * may have none, and neighbours become one mapping.
 *
 * Any thread, without a lock, so a child after fork() can always remove. An entry is there before the first byte of
 * its memory is written, and until the memory is given back.
 */
#ifndef RMEM_COMMON_PRIVATE_MEMORY_H
#define RMEM_COMMON_PRIVATE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct private_entry;

struct private_range {
	uint64_t start, end;
};

/* NULL: out of memory. */
struct private_entry *private_memory_add(const void *start, size_t bytes);
/* NULL is fine. */
void private_memory_remove(struct private_entry *e);

/* As many as there is room for, in no order. Returns how many there were, which may be more than max. */
size_t private_memory_list(struct private_range *out, size_t max);

/* Another number after each change. */
uint64_t private_memory_version(void);

#endif
