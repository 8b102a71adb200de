/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread of our own inside somebody else's process: named, and it never runs their handlers. */
#ifndef RMEM_COMMON_THREAD_H
#define RMEM_COMMON_THREAD_H

#include <pthread.h>

#include "common/errinfo.h"

/* Start with all signals blocked. -EAGAIN. */
int thread_start(pthread_t *out, const char *name, void *(*main)(void *), void *arg,
	struct errinfo *errinfo);

/*
 * The calling thread's stack is the library's own (common/private_memory.h) until it is shown again: what it has done with
 * addresses is no reference of the program. Only where no code of the program ever runs, and to be shown before the
 * thread ends: its stack may be the program's next. NULL: could not be, which harms nothing.
 */
struct private_entry;
struct private_entry *thread_hide_stack(void);
void thread_show_stack(struct private_entry *hidden); /* NULL is fine */

#endif
