/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that is fair: pthread mutexes may be taken by the same thread again and again while others
 * sleep, and here a sleeper may be the one that keeps the lease.
 *
 * Uncontended it is one atomic operation. A thread that finds it taken polls for a while, and may
 * pass others that do the same; once somebody sleeps, it is handed from one to the next in order of
 * arrival.
 */
#ifndef RMEM_CLIENT_TURNSTILE_H
#define RMEM_CLIENT_TURNSTILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct turnstile_waiter;

struct turnstile {
	atomic_bool taken;
	atomic_uint waiting; /* sleepers, and those about to sleep */
	pthread_mutex_t queue_lock;
	struct turnstile_waiter *first;
};

void turnstile_init(struct turnstile *t);
void turnstile_destroy(struct turnstile *t); /* nobody inside */

#define TURNSTILE_FOREVER UINT64_MAX

/* 0, or -ETIMEDOUT at the deadline (on clock_boot_ns()). */
int turnstile_enter(struct turnstile *t, uint64_t deadline_ns);
void turnstile_leave(struct turnstile *t);

#endif
