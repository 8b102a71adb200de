/* SPDX-License-Identifier: BSD-3-Clause */
/* Exclusion, order, urgency and time-outs of the fair lock, with real threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>

#include "client/base/fair_lock.h"
#include "common/clock.h"

#define THREADS 4
#define ROUNDS 5000
#define LIMIT_NS (60 * NSEC_PER_SEC)

static struct fair_lock lock;
static unsigned long counter; /* under lock */

static void *count_up(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		fair_lock_enter(&lock, FAIR_LOCK_FOREVER);
		counter++;
		fair_lock_leave(&lock);
	}
	return NULL;
}

static void test_excludes(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	fair_lock_init(&lock);
	counter = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counter, THREADS * ROUNDS);
	assert_int_equal(atomic_load(&lock.waiting), 0);
	assert_false(atomic_load(&lock.taken));
	fair_lock_destroy(&lock);
}

struct visitor {
	pthread_t thread;
	unsigned long turn; /* which one it was let in as */
};

static void *visit(void *arg)
{
	struct visitor *v = arg;

	fair_lock_enter(&lock, FAIR_LOCK_FOREVER);
	v->turn = counter++;
	fair_lock_leave(&lock);
	return NULL;
}

static void wait_for_sleepers(unsigned n)
{
	uint64_t until_ns = clock_boot_ns() + LIMIT_NS;

	while (atomic_load(&lock.waiting) != n) {
		assert_true(clock_boot_ns() < until_ns);
		sched_yield();
	}
}

static void test_order(void **state)
{
	struct visitor v[4] = { 0 };

	(void)state;
	fair_lock_init(&lock);
	counter = 0;
	assert_int_equal(fair_lock_enter(&lock, FAIR_LOCK_FOREVER), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&v[i].thread, NULL, visit, &v[i]), 0);
		wait_for_sleepers(i + 1);
	}
	fair_lock_leave(&lock);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(v[i].thread, NULL);
		assert_int_equal(v[i].turn, i);
	}
	fair_lock_destroy(&lock);
}

/* Whoever comes again at once does not pass the one that sleeps. */
static void test_no_overtaking(void **state)
{
	struct visitor v = { 0 };

	(void)state;
	fair_lock_init(&lock);
	counter = 0;
	assert_int_equal(fair_lock_enter(&lock, FAIR_LOCK_FOREVER), 0);
	assert_int_equal(pthread_create(&v.thread, NULL, visit, &v), 0);
	wait_for_sleepers(1);
	fair_lock_leave(&lock);
	assert_int_equal(fair_lock_enter(&lock, FAIR_LOCK_FOREVER), 0);
	assert_int_equal(counter, 1);
	fair_lock_leave(&lock);
	pthread_join(v.thread, NULL);
	fair_lock_destroy(&lock);
}

static void test_times_out(void **state)
{
	struct visitor v = { 0 };
	uint64_t now;

	(void)state;
	fair_lock_init(&lock);
	counter = 0;
	assert_int_equal(fair_lock_enter(&lock, FAIR_LOCK_FOREVER), 0);
	now = clock_boot_ns();
	assert_int_equal(fair_lock_enter(&lock, now + 20 * NSEC_PER_MSEC), -ETIMEDOUT);
	assert_true(clock_boot_ns() - now >= 20 * NSEC_PER_MSEC);
	assert_int_equal(fair_lock_enter(&lock, 0), -ETIMEDOUT);
	assert_int_equal(pthread_create(&v.thread, NULL, visit, &v), 0);
	wait_for_sleepers(1);
	assert_int_equal(fair_lock_enter(&lock, clock_boot_ns()), -ETIMEDOUT);
	fair_lock_leave(&lock);
	pthread_join(v.thread, NULL);
	assert_int_equal(fair_lock_enter(&lock, 0), 0);
	fair_lock_leave(&lock);
	fair_lock_destroy(&lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_excludes),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_no_overtaking),
		cmocka_unit_test(test_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
