/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread of our own inside somebody else's process: named, and it never runs their handlers. */
#ifndef RMEM_COMMON_THREAD_H
#define RMEM_COMMON_THREAD_H

#include <pthread.h>

#include "common/errinfo.h"

/* Start with all signals blocked. -EAGAIN. */
int thread_start(pthread_t *out, const char *name, void *(*main)(void *), void *arg,
	struct errinfo *errinfo);

#endif
