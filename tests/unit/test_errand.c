/* SPDX-License-Identifier: BSD-3-Clause */
/* Work in a thread of its own: waited for, given up, and never lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errand.h"

#define LIMIT_NS (60 * NSEC_PER_SEC)

static sem_t may_go, has_begun;
static atomic_uint destroyed;
static atomic_int policy, nice_value;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;
}

static void linger(struct errand *e)
{
	(void)e;
	atomic_store(&policy, sched_getscheduler(0));
	atomic_store(&nice_value, getpriority(PRIO_PROCESS, (id_t)gettid()));
	sem_post(&has_begun);
	wait_for(&may_go);
}

static void count(struct errand *e)
{
	atomic_fetch_add(&destroyed, 1);
	free(e);
}

static struct errand *make(bool background)
{
	struct errand *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->run = linger;
	e->destroy = count;
	e->name = "test";
	e->background = background;
	return e;
}

static struct errand *start(bool background)
{
	struct errand *e = make(background);
	struct errinfo errinfo;

	assert_int_equal(errand_start(e, &errinfo), 0);
	wait_for(&has_begun);
	return e;
}

static uint64_t soon(uint64_t ns)
{
	return clock_boot_ns() + ns;
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&destroyed, 0);
	return sem_init(&may_go, 0, 0) | sem_init(&has_begun, 0, 0);
}

static void test_done(void **state)
{
	struct errand *e = start(false);

	(void)state;
	assert_int_equal(atomic_load(&policy), sched_getscheduler(0));
	sem_post(&may_go);
	assert_int_equal(errand_wait(e, soon(LIMIT_NS)), 0);
	assert_int_equal(errand_wait(e, 0), 0); /* and stays done */
	errand_leave(e);
	assert_int_equal(atomic_load(&destroyed), 1);
}

static void finish(struct errand *e)
{
	sem_post(&may_go);
	assert_int_equal(errand_wait(e, ERRAND_FOREVER), 0);
	errand_leave(e);
}

/* Nice 19 and no more: it has to give back locks of malloc() and of the loader in the end. */
static void test_background(void **state)
{
	const struct sched_param real_time = { .sched_priority = 1 }, none = { 0 };
	const int own = getpriority(PRIO_PROCESS, 0);

	(void)state;
	finish(start(true));
	assert_int_equal(atomic_load(&policy), SCHED_BATCH);
	assert_int_equal(atomic_load(&nice_value), 19);
	finish(start(false));
	assert_int_equal(atomic_load(&policy), SCHED_OTHER);
	assert_int_equal(atomic_load(&nice_value), own);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
	/* In a program with real-time threads too, if this one may be such a program. */
	if (sched_setscheduler(0, SCHED_FIFO, &real_time) == 0) {
		struct errand *e = start(true);

		assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &none), 0);
		finish(e);
		assert_int_equal(atomic_load(&policy), SCHED_BATCH);
		assert_int_equal(atomic_load(&nice_value), 19);
	}
}

static void test_never_started(void **state)
{
	(void)state;
	errand_leave(make(false));
	assert_int_equal(atomic_load(&destroyed), 1);
}

/* Nobody waits for it any more: it is destroyed, but not before it is done. */
static void test_left(void **state)
{
	struct errand *e = start(false);
	uint64_t until = soon(LIMIT_NS);

	(void)state;
	assert_int_equal(errand_wait(e, soon(NSEC_PER_MSEC)), -ETIMEDOUT);
	errand_leave(e);
	assert_int_equal(atomic_load(&destroyed), 0);
	sem_post(&may_go);
	for (unsigned others = 0; atomic_load(&destroyed) == others; others++) {
		assert_true(clock_boot_ns() < until);
		errand_leave(make(false)); /* whoever comes next frees it */
	}
}

static void *cancel(void *arg)
{
	errand_cancel(arg);
	return NULL;
}

static void test_cancelled(void **state)
{
	struct errand *e = start(false);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, cancel, e), 0);
	assert_int_equal(errand_wait(e, soon(LIMIT_NS)), -ECANCELED);
	pthread_join(thread, NULL);
	sem_post(&may_go);
	/* What is done is done. */
	while (errand_wait(e, 0) != 0)
		sched_yield();
	errand_leave(e);
	assert_int_equal(atomic_load(&destroyed), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_done, setup),
		cmocka_unit_test_setup(test_background, setup),
		cmocka_unit_test_setup(test_never_started, setup),
		cmocka_unit_test_setup(test_left, setup),
		cmocka_unit_test_setup(test_cancelled, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
