/* SPDX-License-Identifier: BSD-3-Clause */
/* The descriptor of a queue: readable when there is something to reap, over restarts too, and not for ever. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/rxe/desk.h"

#define LOOP_OPERATIONS 3000UL
#define LOOP_OUTSTANDING 50UL

struct loop {
	struct desk desk;
	int epoll;
	uint64_t started, reaped, wakeups, in_vain;
};

static void start_some(struct loop *l)
{
	struct desk *d = &l->desk;

	while (l->started < LOOP_OPERATIONS && l->started - l->reaped < LOOP_OUTSTANDING) {
		size_t at = l->started % 64 * 1000;

		lib_succeed(rmem_start_write(d->q, d->addr + at, d->bytes + at, 1000, l->started));
		l->started++;
	}
	lib_succeed(rmem_submit(d->q));
}

/* As the header says: when it is readable, until there is nothing. */
static void take_all(struct loop *l)
{
	struct rmem_completion done[16];
	uint64_t before = l->reaped;
	int n;

	while ((n = rmem_reap(l->desk.q, done, 16, 0)) > 0)
		for (int i = 0; i < n; i++) {
			lib_succeed(done[i].status);
			assert_int_equal(done[i].tag, l->reaped++);
		}
	assert_int_equal(n, 0);
	l->in_vain += l->reaped == before;
}

static void run_loop(struct loop *l)
{
	struct epoll_event event;

	l->started = l->reaped = l->wakeups = l->in_vain = 0;
	start_some(l);
	while (l->reaped < LOOP_OPERATIONS) {
		if (epoll_wait(l->epoll, &event, 1, RIG_LIMIT_MS) != 1)
			fail_msg("%" PRIu64 " of %" PRIu64 " reaped, and nothing comes", l->reaped,
				l->started);
		l->wakeups++;
		take_all(l);
		start_some(l);
	}
	printf("%lu operations: %" PRIu64 " wakeups, %" PRIu64 " in vain\n", LOOP_OPERATIONS,
		l->wakeups, l->in_vain);
}

/* With nothing to reap the descriptor is not readable, except once, for an operation that was reaped already. */
static void check_quiet(const struct loop *l)
{
	struct rmem_completion done;
	struct epoll_event event;

	if (epoll_wait(l->epoll, &event, 1, 100) == 1) {
		assert_int_equal(rmem_reap(l->desk.q, &done, 1, 0), 0);
		assert_int_equal(epoll_wait(l->epoll, &event, 1, 100), 0);
	}
}

static void test_descriptor(void **state)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct rmem_completion done;
	struct loop l = { 0 };
	struct desk *d = &l.desk;
	struct pollfd fd;
	int looks = 0;

	desk_create(d, *state, 128);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	fd = (struct pollfd){ .fd = rmem_queue_fd(d->q), .events = POLLIN };
	assert_true(fd.fd >= 0 && l.epoll >= 0);
	assert_int_equal(rmem_queue_fd(d->q), fd.fd);
	assert_int_equal(epoll_ctl(l.epoll, EPOLL_CTL_ADD, fd.fd, &event), 0);
	check_quiet(&l);
	/* What does nothing has completed at once, and that is to be heard of too. */
	lib_succeed(rmem_start_read(d->q, NULL, 0, 0, 7));
	assert_int_equal(poll(&fd, 1, RIG_LIMIT_MS), 1);
	desk_reap_in_order(d->q, 7, 1, 1);
	assert_int_equal(rmem_reap(d->q, &done, 1, 0), 0);
	check_quiet(&l);
	/* One after the other: each wakes once. */
	for (uint64_t i = 0; i < 20; i++) {
		lib_succeed(rmem_start_write(d->q, d->addr, d->bytes, 8, i));
		lib_succeed(rmem_submit(d->q));
		do {
			assert_int_equal(poll(&fd, 1, RIG_LIMIT_MS), 1);
			looks++;
		} while (rmem_reap(d->q, &done, 1, 0) == 0);
		assert_int_equal(done.tag, i);
		assert_int_equal(rmem_reap(d->q, &done, 1, 0), 0);
	}
	assert_in_range(looks, 20, 30); /* it may be readable in vain, when a key is fetched */
	check_quiet(&l);
	for (int kill = 0; kill < 3; kill++) {
		run_loop(&l);
		/* A few are in vain: for a key, for what was reaped already. Not one after each that was not. */
		assert_true(l.in_vain <= l.wakeups / 4);
		check_quiet(&l);
		/* The same descriptor, on the connection that comes next. */
		rig_kill(d->rig);
		rig_start(d->rig, NULL);
	}
	run_loop(&l);
	close(l.epoll);
	assert_int_equal(rmem_queue_fd(d->q), fd.fd);
	desk_destroy(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_descriptor),
	};

	return rig_main(RIG_PORT_DESCRIPTOR, tests, sizeof(tests) / sizeof(tests[0]));
}
