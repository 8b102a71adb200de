/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads beside the event loop. */
#ifndef RMEM_SERVER_BASE_THREAD_H
#define RMEM_SERVER_BASE_THREAD_H

#include <pthread.h>

/* With all signals blocked: the event loop handles them. A small stack. 0, or a negative errno of pthread_create(3). */
int thread_start(pthread_t *out, void *(*run)(void *arg), void *arg);

#endif
