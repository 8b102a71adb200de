/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor of a queue: readable when there is something to reap, also after a restart of rmemd, and not readable once
 * all is reaped. Calls among the operations of a queue (rmem_start_alloc() and its like).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
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

/* ---- calls ---- */

#define CALL_BYTES 100000U

static struct rmem_completion reap(struct rmem_queue *q, uint64_t tag)
{
	struct rmem_completion done;

	assert_int_equal(rmem_reap(q, &done, 1, RIG_LIMIT_MS), 1);
	assert_int_equal(done.tag, tag);
	return done;
}

static rmem_addr_t reap_address(struct rmem_queue *q, uint64_t tag)
{
	const struct rmem_completion done = reap(q, tag);

	lib_succeed(done.status);
	assert_int_not_equal(done.result, 0);
	return done.result;
}

/* Copies and calls in the order in which they were started, waited for by the descriptor; the results are usable. */
static void check_among_copies(struct desk *d)
{
	struct pollfd fd = { .fd = rmem_queue_fd(d->q), .events = POLLIN };
	struct rmem_completion done[8];
	rmem_addr_t addr[2];
	char back[8] = "";
	int reaped = 0, n;

	assert_int_equal(rmem_reap(d->q, done, 1, 0), 0);
	lib_succeed(rmem_start_write(d->q, d->addr, d->bytes, 1000, 0));
	lib_succeed(rmem_start_alloc(d->q, CALL_BYTES, NULL, 1));
	lib_succeed(rmem_start_read(d->q, d->bytes, d->addr, 1000, 2));
	lib_succeed(rmem_start_alloc(d->q, 100, NULL, 3));
	lib_succeed(rmem_start_free(d->q, d->addr + 1, 4));
	lib_succeed(rmem_start_read(d->q, d->bytes, d->addr, 1000, 5));
	lib_succeed(rmem_submit(d->q));
	while (reaped < 6) {
		assert_int_equal(poll(&fd, 1, RIG_LIMIT_MS), 1);
		while ((n = rmem_reap(d->q, &done[reaped], 8 - reaped, 0)) > 0)
			reaped += n;
		assert_int_equal(n, 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(done[i].tag, i);
		assert_int_equal(done[i].status, i == 4 ? -EINVAL : 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		addr[i] = done[1 + 2 * i].result;
		lib_succeed(rmem_start_write(d->q, addr[i] + 90, "result", 7, 6));
		lib_succeed(rmem_start_read(d->q, back, addr[i] + 90, 7, 7));
		desk_reap_in_order(d->q, 6, 2, 2);
		assert_string_equal(back, "result");
		lib_succeed(rmem_start_free(d->q, addr[i], 8));
		lib_succeed(reap(d->q, 8).status);
		lib_expect(rmem_read(d->rm, back, addr[i] + 90, 7), -EFAULT, "");
	}
}

static void check_attach(struct desk *d)
{
	struct rmem *guest = lib_open(d->rig->server, 0);
	struct rmem_queue *q = lib_queue(guest, 4);
	struct rmem_share_key key;

	lib_succeed(rmem_share(d->rm, d->addr, &key));
	lib_succeed(rmem_start_attach(q, d->addr, &key, 1));
	assert_int_equal(reap(q, 1).result, DESK_BLOCK);
	lib_succeed(rmem_write(guest, d->addr, "guest", 6));
	lib_succeed(rmem_detach(guest, d->addr));
	/* Nobody reaps it: it is detached, or was never attached. */
	lib_succeed(rmem_start_attach(q, d->addr, &key, 2));
	rmem_queue_destroy(q);
	lib_succeed(rmem_close(guest));
	lib_succeed(rmem_read(d->rm, d->bytes, d->addr, 6));
	assert_string_equal((char *)d->bytes, "guest");
}

static void test_calls(void **state)
{
	rmem_addr_t addr;
	struct desk d;

	desk_create(&d, *state, 8);
	check_among_copies(&d);
	check_attach(&d);
	/* The server is away, and comes back: the calls are carried out then, and copies behind them wait for that. */
	rig_kill(d.rig);
	lib_succeed(rmem_start_alloc(d.q, CALL_BYTES, NULL, 1));
	rig_start(d.rig, NULL);
	lib_succeed(rmem_start_write(d.q, d.addr, d.bytes, 8, 2));
	addr = reap_address(d.q, 1);
	desk_reap_in_order(d.q, 2, 1, 1);
	lib_succeed(rmem_start_free(d.q, addr, 3));
	lib_succeed(reap(d.q, 3).status);
	desk_destroy(&d);
}

/* Nobody reaps them, and nothing stays: rmemd says so when it stops. */
static void test_calls_left(void **state)
{
	struct desk d;
	rmem_addr_t addr;

	desk_create(&d, *state, 16);
	lib_succeed(rmem_start_alloc(d.q, CALL_BYTES, NULL, 1));
	addr = reap_address(d.q, 1);
	for (uint64_t i = 0; i < 4; i++) {
		lib_succeed(rmem_start_alloc(d.q, CALL_BYTES, NULL, i));
		lib_succeed(rmem_start_alloc(d.q, 100, NULL, i));
	}
	lib_succeed(rmem_start_free(d.q, addr, 9));
	rmem_queue_destroy(d.q);
	d.q = lib_queue(d.rm, 16);
	for (uint64_t i = 0; i < 4; i++) {
		lib_succeed(rmem_start_alloc(d.q, CALL_BYTES, NULL, i));
		lib_succeed(rmem_start_alloc(d.q, 100, NULL, i));
	}
	lib_succeed(rmem_free(d.rm, d.addr));
	lib_succeed(rmem_close(d.rm)); /* with a queue that has eight outstanding */
	rig_stop(d.rig, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_descriptor),
		RIG_TEST(test_calls),
		RIG_TEST(test_calls_left),
	};

	return rig_main(RIG_PORT_DESCRIPTOR, tests, sizeof(tests) / sizeof(tests[0]));
}
