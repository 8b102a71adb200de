/* SPDX-License-Identifier: BSD-3-Clause */
/* The budget of a scan, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>

#include "client/scan/throttle.h"
#include "common/clock.h"
#include "tests/support/random.h"

#define BEGAN (1000 * NSEC_PER_SEC)

/* Pieces of work one after the other, each waited for. Returns how long all took. */
static uint64_t work(struct throttle *t, unsigned pieces, uint64_t bytes, uint64_t cpu_ns)
{
	uint64_t now = BEGAN;

	t->due_ns = BEGAN;
	for (unsigned i = 0; i < pieces; i++) {
		now += cpu_ns;
		now += throttle_charge(t, bytes, cpu_ns, now);
	}
	return now - BEGAN;
}

static void test_limits(void **state)
{
	struct throttle none = { 0 }, rate = { .bytes_per_s = 1000000 },
			share = { .cpu_percent = 25 };
	struct throttle both = { .bytes_per_s = 1000000, .cpu_percent = 1 };

	(void)state;
	assert_int_equal(work(&none, 1000, 1 << 20, 1000), 1000000);
	assert_int_equal(work(&rate, 1000, 10000, 1000), 10 * NSEC_PER_SEC);
	assert_int_equal(work(&share, 1000, 10000, 1000), 4000000);
	/* The slower one counts. */
	assert_int_equal(work(&both, 1000, 10000, 1000), 10 * NSEC_PER_SEC);
	assert_int_equal(work(&both, 10, 1, 1000000), NSEC_PER_SEC);
	none.cpu_percent = 100;
	assert_int_equal(work(&none, 1000, 1 << 20, 1000), 1000000);
}

/* What was not used is not made up for, beyond a burst. */
static void test_burst(void **state)
{
	struct throttle t = { .bytes_per_s = 1000, .due_ns = BEGAN };
	const uint64_t later = BEGAN + 3600 * NSEC_PER_SEC;

	(void)state;
	assert_int_equal(throttle_charge(&t, 1000, 0, later), NSEC_PER_SEC - THROTTLE_BURST_NS);
	assert_int_equal(
		throttle_charge(&t, 1, 0, later), NSEC_PER_SEC + 1000000 - THROTTLE_BURST_NS);
}

static void test_large(void **state)
{
	struct throttle slow = { .bytes_per_s = 1, .due_ns = BEGAN };
	struct throttle fast = { .bytes_per_s = UINT64_MAX, .due_ns = BEGAN };

	(void)state;
	assert_int_equal(throttle_charge(&slow, 1 << 18, 0, BEGAN), (1ULL << 18) * NSEC_PER_SEC);
	assert_int_equal(throttle_charge(&fast, 1ULL << 62, 0, BEGAN), NSEC_PER_SEC / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
