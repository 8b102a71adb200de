/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program can ask of allocator.c, if that is preloaded (dlsym). Any thread. */
#ifndef RMEM_TESTS_FOREIGN_ALLOCATOR_H
#define RMEM_TESTS_FOREIGN_ALLOCATOR_H

#include <stdbool.h>

#define ALLOCATOR_API __attribute__((visibility("default")))
#define ALLOCATOR_STATUS \
	99 /* the program ends with it when a rule is broken, and the rule is on stderr */

/* From here on the calling thread must not allocate, nor free; or it may again. */
ALLOCATOR_API void allocator_forbid(bool forbidden);
/* Blocks that are in use. */
ALLOCATOR_API long allocator_live(void);
/* Locks that librmem has taken: under none may anybody allocate. */
ALLOCATOR_API long allocator_locks(void);

#endif
