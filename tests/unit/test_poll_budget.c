/* SPDX-License-Identifier: BSD-3-Clause */
/* How long waits poll: devices and threads that are fast, slow, mixed, idle, and one after an outage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/poll_budget.h"

#define USEC NSEC_PER_USEC
#define MSEC NSEC_PER_MSEC

#define ASLEEP_PART 16 /* of the time slept may be polled */

/* A thread with a clock, which adds up what it did. */
struct thread {
	struct poll_budget budget;
	uint64_t now_ns, polled_ns;
	unsigned slept;
	bool crowded; /* more is under way than what is waited for */
};

static void start(struct thread *t)
{
	*t = (struct thread){ .now_ns = NSEC_PER_SEC };
	poll_budget_init(&t->budget, t->now_ns);
}

/* Something else for so long, then a wait that takes so long. Was it polled to its end? */
static bool wait_for(struct thread *t, uint64_t outside_ns, uint64_t took_ns, bool came)
{
	uint64_t limit;

	t->now_ns += outside_ns;
	limit = poll_budget_begin(&t->budget, t->now_ns, !t->crowded);
	t->now_ns += took_ns;
	poll_budget_end(&t->budget, t->now_ns, came);
	t->polled_ns += took_ns < limit ? took_ns : limit;
	t->slept += took_ns > limit;
	return took_ns <= limit;
}

static void repeat(struct thread *t, unsigned n, uint64_t outside_ns, uint64_t took_ns)
{
	while (n--)
		(void)wait_for(t, outside_ns, took_ns, true);
}

/* Nothing between the waits: what is typical and short needs no credit. */
static void test_back_to_back(void **state)
{
	struct thread t;

	(void)state;
	for (uint64_t took = 2 * USEC; took <= 300 * USEC; took *= 2) {
		start(&t);
		repeat(&t, 100, 0, took);
		t.slept = 0;
		repeat(&t, 1000, 0, took);
		assert_int_equal(t.slept, 0);
	}
}

/* The waits that are told are all late, but the thread works most of the time: none of them sleeps. */
static void test_slow_machine(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	repeat(&t, 100, 2 * MSEC, 700 * USEC); /* learn */
	t.slept = 0;
	for (unsigned i = 0; i < 1000; i++) {
		repeat(&t, 4, 3 * MSEC, 700 * USEC);
		(void)wait_for(&t, 3 * MSEC, 8 * MSEC, true);
	}
	assert_int_equal(t.slept, 0);
}

/* The same, but with more under way: what is late is not polled for, whatever the thread does otherwise. */
static void test_crowded(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	t.crowded = true;
	repeat(&t, 100, 3 * MSEC, 700 * USEC); /* learn */
	t.polled_ns = t.slept = 0;
	repeat(&t, 1000, 3 * MSEC, 700 * USEC);
	assert_int_equal(t.slept, 1000);
	assert_true(t.polled_ns < 10 * MSEC);
}

/* Short ones, and now and then one that is much longer: polled to the end, if it is not too rare to be known. */
static void test_mixed(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	for (unsigned i = 0; i < 1000; i++) {
		repeat(&t, 19, 100 * USEC, 100 * USEC);
		(void)wait_for(&t, 100 * USEC, 1500 * USEC, true);
	}
	assert_int_equal(t.slept, 0);
}

/* A fast device is no reason to poll for long: one long wait costs a part of what it takes. */
static void test_long_wait_on_a_fast_device(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	repeat(&t, 1000, 10 * USEC, 5 * USEC);
	t.polled_ns = 0;
	assert_false(wait_for(&t, 10 * MSEC, NSEC_PER_SEC, true));
	assert_true(t.polled_ns < 2 * MSEC);
}

/* After an outage, which is a few waits however long they took, waits are polled as before. */
static void test_outage(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	repeat(&t, 1000, 10 * USEC, 50 * USEC);
	t.polled_ns = 0;
	for (unsigned i = 0; i < 5; i++)
		(void)wait_for(&t, 0, 10 * NSEC_PER_SEC, false);
	assert_true(t.polled_ns <= 5 * (POLL_BUDGET_WAIT_NS + MSEC));
	t.slept = 0;
	repeat(&t, 100, 10 * USEC, 50 * USEC);
	assert_int_equal(t.slept, 0);
}

/* It was slow for long, and is fast now: that is learnt. */
static void test_recovery(void **state)
{
	struct thread t;

	(void)state;
	start(&t);
	repeat(&t, 2000, 0, 50 * MSEC);
	repeat(&t, 200, 0, 50 * USEC);
	t.slept = 0;
	repeat(&t, 1000, 0, 50 * USEC);
	assert_int_equal(t.slept, 0);
}

/* A thread that only waits, for long each time, sleeps nearly all the time; whether anything comes or not. */
static void test_idle(void **state)
{
	struct thread t;
	uint64_t began;

	(void)state;
	for (uint64_t took = MSEC; took <= 10 * NSEC_PER_SEC; took *= 10) {
		for (int came = 0; came < 2; came++) {
			start(&t);
			repeat(&t, 200, 0, took); /* learn */
			t.polled_ns = 0;
			began = t.now_ns;
			for (unsigned i = 0; i < 1000; i++)
				(void)wait_for(&t, 0, took, came);
			assert_true(t.polled_ns <=
				    (t.now_ns - began) / ASLEEP_PART + POLL_BUDGET_WAIT_NS);
		}
	}
}

/* Whatever it works beside: waits that are not short are polled for at most half of the time. */
static void test_share(void **state)
{
	struct thread t;
	uint64_t began;

	(void)state;
	for (uint64_t took = MSEC; took <= NSEC_PER_SEC; took *= 4) {
		for (uint64_t outside = 1; outside <= NSEC_PER_SEC; outside *= 8) {
			start(&t);
			repeat(&t, 200, outside, took);
			t.polled_ns = 0;
			began = t.now_ns;
			repeat(&t, 1000, outside, took);
			assert_true(t.polled_ns <= (t.now_ns - began) / 2 + POLL_BUDGET_WAIT_NS);
			assert_true(t.polled_ns <= 1000 * POLL_BUDGET_WAIT_NS);
		}
	}
}

/* One of many threads: what one has polled is not another's. */
static void test_threads(void **state)
{
	struct thread idle, busy;

	(void)state;
	start(&idle);
	start(&busy);
	for (unsigned i = 0; i < 1000; i++) {
		(void)wait_for(&idle, 0, 100 * MSEC, true);
		(void)wait_for(&busy, 100 * USEC, 100 * USEC, true);
	}
	assert_int_equal(busy.slept, 0);
	assert_true(idle.slept > 900);
}

/* A wait that was given up early, or was over at the first look, says nothing of how long waits take. */
static void test_unknown(void **state)
{
	struct thread t;
	uint64_t typical;

	(void)state;
	start(&t);
	repeat(&t, 1000, 10 * USEC, 200 * USEC);
	typical = t.budget.typical_ns;
	for (unsigned i = 0; i < 1000; i++)
		(void)wait_for(&t, 10 * USEC, i % 2 ? USEC : 0, i % 2 == 0);
	assert_int_equal(t.budget.typical_ns, typical);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_to_back),
		cmocka_unit_test(test_slow_machine),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_long_wait_on_a_fast_device),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
