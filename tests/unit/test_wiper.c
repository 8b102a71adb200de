/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread that wipes: what comes back is zero, in order, all of it and nothing else. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/units.h"
#include "numa/topology.h"
#include "server/memory/wiper.h"
#include "tests/support/random.h"

#define ROOM_BYTES (48 * MIB)

struct stage {
	struct topology *topology;
	struct wiper *wiper;
	int done_fd;
	char *memory;
};

static int open_stage(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	*state = s;
	s->memory = malloc(ROOM_BYTES);
	s->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!s->memory || s->done_fd < 0 || topology_load(&s->topology))
		return -1;
	memset(s->memory, 'x', ROOM_BYTES);
	return wiper_start(&s->wiper, s->topology, topology_at(s->topology, 0)->node, s->done_fd);
}

static int close_stage(void **state)
{
	struct stage *s = *state;

	wiper_stop(s->wiper);
	topology_destroy(s->topology);
	close(s->done_fd);
	free(s->memory);
	free(s);
	return 0;
}

static void assert_all(const char *from, uint64_t bytes, char what)
{
	for (uint64_t i = 0; i < bytes; i++) {
		if (from[i] != what)
			fail_msg(
				"byte %llu is %02x", (unsigned long long)i, (unsigned char)from[i]);
	}
}

/* As a loop does: sleep until the descriptor is readable. False: it was not, for so long that it never will. */
static bool await_done(struct stage *s)
{
	struct pollfd fd = { .fd = s->done_fd, .events = POLLIN };
	uint64_t n;

	return poll(&fd, 1, 20000) == 1 && read(s->done_fd, &n, sizeof(n)) == sizeof(n);
}

/* Larger than a piece and no multiple of one; its neighbours keep what they hold. */
static void test_exactly_the_range(void **state)
{
	struct stage *s = *state;
	const struct wiper_range range = { s->memory + 4096, 20 * MIB + 12288, 7 };
	struct wiper_range back;

	assert_false(wiper_take(s->wiper, &back));
	wiper_wait(s->wiper); /* for nothing */
	assert_true(wiper_give(s->wiper, &range));
	assert_true(await_done(s));
	assert_true(wiper_take(s->wiper, &back));
	assert_int_equal(back.slot, 7);
	assert_ptr_equal(back.addr, range.addr);
	assert_int_equal(back.bytes, range.bytes);
	assert_false(wiper_take(s->wiper, &back));
	assert_all(s->memory, 4096, 'x');
	assert_all(range.addr, range.bytes, 0);
	assert_all(range.addr + range.bytes, 4096, 'x');
	assert_int_equal(wiper_bytes(s->wiper), range.bytes);
}

/* Asked all the time, it gives nothing back early. */
static void test_not_before_it_is_done(void **state)
{
	struct stage *s = *state;
	const struct wiper_range range = { s->memory, 20 * MIB, 0 };
	struct wiper_range back;

	assert_true(wiper_give(s->wiper, &range));
	while (!wiper_take(s->wiper, &back))
		;
	assert_all(range.addr, range.bytes, 0);
	assert_all(range.addr + range.bytes, 4096, 'x');
}

static void test_bounded_and_in_order(void **state)
{
	struct stage *s = *state;
	struct wiper_range range = { s->memory, 128 * KIB, 0 }, back;
	uint32_t given = 0, taken = 0;

	while (taken < 3 * WIPER_RANGES) {
		while (given < 3 * WIPER_RANGES && wiper_give(s->wiper, &range)) {
			given++;
			range.slot++;
			range.addr = s->memory + given * range.bytes;
		}
		assert_in_range(given - taken, 1, WIPER_RANGES);
		/* Full unless all has been given: it says no for that reason alone. */
		assert_true(given == 3 * WIPER_RANGES || given - taken == WIPER_RANGES);
		assert_true(await_done(s));
		while (wiper_take(s->wiper, &back)) {
			assert_int_equal(back.slot, taken++);
			assert_all(back.addr, back.bytes, 0);
		}
	}
	assert_all(s->memory + given * range.bytes, 4096, 'x');
}

/* A loop that takes back at random never sleeps beside a range that is done. */
static void test_no_wake_is_lost(void **state)
{
	struct stage *s = *state;
	struct wiper_range range = { s->memory, 4096, 0 }, back;
	uint64_t seed = 17;
	uint32_t given = 0, taken = 0;

	while (taken < 200000) {
		for (uint64_t n = 1 + random_below(&seed, 8); n && given < 200000; n--)
			given += wiper_give(s->wiper, &range);
		if (given > taken)
			assert_true(await_done(s));
		while (wiper_take(s->wiper, &back))
			taken++;
	}
	assert_int_equal(given, taken);
	assert_int_equal(wiper_bytes(s->wiper), 4096ULL * taken);
}

/* In the middle of a range; valgrind and the sanitizers see what it touches after that. */
static void test_stops_at_once(void **state)
{
	struct stage *s = *state;
	const struct wiper_range range = { s->memory, ROOM_BYTES, 0 };

	for (unsigned i = 0; i < WIPER_RANGES; i++)
		assert_true(wiper_give(s->wiper, &range));
	while (wiper_bytes(s->wiper) == 0)
		;
	wiper_stop(s->wiper);
	s->wiper = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exactly_the_range, open_stage, close_stage),
		cmocka_unit_test_setup_teardown(
			test_not_before_it_is_done, open_stage, close_stage),
		cmocka_unit_test_setup_teardown(test_bounded_and_in_order, open_stage, close_stage),
		cmocka_unit_test_setup_teardown(test_no_wake_is_lost, open_stage, close_stage),
		cmocka_unit_test_setup_teardown(test_stops_at_once, open_stage, close_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
