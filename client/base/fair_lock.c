/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/fair_lock.h"

#include <errno.h>

#include "common/clock.h"

#define POLLS 400 /* some microseconds: about what a short transfer takes */

struct fair_lock_waiter {
	struct fair_lock_waiter *next;
	pthread_cond_t granted_cond;
	bool granted;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

void fair_lock_init(struct fair_lock *t)
{
	atomic_init(&t->taken, false);
	atomic_init(&t->waiting, 0);
	pthread_mutex_init(&t->queue_lock, NULL);
	t->first = NULL;
}

void fair_lock_destroy(struct fair_lock *t)
{
	pthread_mutex_destroy(&t->queue_lock);
}

static bool try_take(struct fair_lock *t)
{
	bool expected = false;

	return atomic_compare_exchange_strong(&t->taken, &expected, true);
}

/* queue_lock held: behind all others. */
static void enqueue(struct fair_lock *t, struct fair_lock_waiter *w)
{
	struct fair_lock_waiter **at = &t->first;

	while (*at)
		at = &(*at)->next;
	w->next = NULL;
	*at = w;
}

static void unlink_waiter(struct fair_lock *t, struct fair_lock_waiter *w)
{
	struct fair_lock_waiter **at = &t->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

/* queue_lock held, the lock taken: the first sleeper has it now. False: nobody sleeps. */
static bool hand_over(struct fair_lock *t)
{
	struct fair_lock_waiter *w = t->first;

	if (!w)
		return false;
	t->first = w->next;
	atomic_fetch_sub(&t->waiting, 1);
	w->granted = true;
	pthread_cond_signal(&w->granted_cond);
	return true;
}

/* queue_lock held, w in the queue. */
static int sleep_until_granted(
	struct fair_lock *t, struct fair_lock_waiter *w, uint64_t deadline_ns)
{
	uint64_t now = clock_boot_ns();
	uint64_t until =
		clock_read_ns(CLOCK_MONOTONIC) + (deadline_ns > now ? deadline_ns - now : 0);
	struct timespec ts = { (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) };

	while (!w->granted) {
		if (deadline_ns == FAIR_LOCK_FOREVER)
			pthread_cond_wait(&w->granted_cond, &t->queue_lock);
		else if (pthread_cond_timedwait(&w->granted_cond, &t->queue_lock, &ts) &&
			 !w->granted)
			return -ETIMEDOUT;
	}
	return 0;
}

static int queue_up(struct fair_lock *t, uint64_t deadline_ns)
{
	struct fair_lock_waiter w = { .granted = false };
	pthread_condattr_t attr;
	int rc = 0;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w.granted_cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&t->queue_lock);
	/*
	 * Announced before the last try: a thread that leaves either sees the announcement and hands
	 * over, or has made the try succeed.
	 */
	atomic_fetch_add(&t->waiting, 1);
	if (!t->first && try_take(t)) {
		atomic_fetch_sub(&t->waiting, 1);
	} else {
		enqueue(t, &w);
		rc = sleep_until_granted(t, &w, deadline_ns);
		if (rc) {
			unlink_waiter(t, &w);
			atomic_fetch_sub(&t->waiting, 1);
		}
	}
	pthread_mutex_unlock(&t->queue_lock);
	pthread_cond_destroy(&w.granted_cond);
	return rc;
}

int fair_lock_enter(struct fair_lock *t, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < POLLS; i++) {
		if (atomic_load_explicit(&t->waiting, memory_order_relaxed))
			break;
		if (!atomic_load_explicit(&t->taken, memory_order_relaxed) && try_take(t))
			return 0;
		relax();
	}
	return queue_up(t, deadline_ns);
}

bool fair_lock_try(struct fair_lock *t)
{
	return !atomic_load_explicit(&t->waiting, memory_order_relaxed) && try_take(t);
}

void fair_lock_leave(struct fair_lock *t)
{
	if (atomic_load(&t->waiting) == 0) {
		atomic_store(&t->taken, false);
		/* Nobody came in between, or who came has found it free. */
		if (atomic_load(&t->waiting) == 0)
			return;
		pthread_mutex_lock(&t->queue_lock);
		/* Who sleeps now may have tried while it was still taken. */
		if (t->first && try_take(t))
			hand_over(t);
		pthread_mutex_unlock(&t->queue_lock);
		return;
	}
	pthread_mutex_lock(&t->queue_lock);
	if (!hand_over(t))
		atomic_store(&t->taken, false);
	pthread_mutex_unlock(&t->queue_lock);
}
