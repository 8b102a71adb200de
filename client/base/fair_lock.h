/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that is fair: pthread mutexes may be taken by the same thread again and again while others
 * sleep, and here a sleeper may be the one that keeps the lease.
 *
 * Uncontended it is one atomic operation. A thread that finds it taken polls for a while, and may
 * pass others that do the same; once somebody sleeps, it is handed from one to the next in order of
 * arrival.
 */
#ifndef RMEM_CLIENT_BASE_FAIR_LOCK_H
#define RMEM_CLIENT_BASE_FAIR_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fair_lock_waiter;

struct fair_lock {
	atomic_bool taken;
	atomic_uint waiting; /* sleepers, and those about to sleep */
	pthread_mutex_t queue_lock;
	struct fair_lock_waiter *first;
};

void fair_lock_init(struct fair_lock *t);
void fair_lock_destroy(struct fair_lock *t); /* nobody inside */

#define FAIR_LOCK_FOREVER UINT64_MAX

/* 0, or -ETIMEDOUT at the deadline (on clock_boot_ns()). */
int fair_lock_enter(struct fair_lock *t, uint64_t deadline_ns);
/* Without waiting: false if a thread has it, or waits for it. */
bool fair_lock_try(struct fair_lock *t);
void fair_lock_leave(struct fair_lock *t);

#endif
