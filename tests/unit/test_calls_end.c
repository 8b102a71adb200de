/* SPDX-License-Identifier: BSD-3-Clause */
/* How calls of a queue end: failures, time, lost sessions, what nobody reaps; descriptors, signals and children. */
#include "tests/support/calls_bench.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- failures ---- */

static void test_wrong(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem_share_key key = { { 0 } };
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);

	(void)state;
	assert_int_equal(rmem_start_alloc(NULL, 1, NULL, 0), -EINVAL);
	assert_int_equal(rmem_start_free(NULL, 0, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(NULL, 0, &key, 0), -EINVAL);
	assert_int_equal(rmem_start_alloc(b.q, 0, NULL, 0), -EINVAL);
	attr.flags = 1U << 30;
	assert_int_equal(rmem_start_alloc(b.q, 1, &attr, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(b.q, CALLS_BLOCK, NULL, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(b.q, CALLS_BLOCK, &key, 0), -EINVAL);
	calls_no_descriptor = true;
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 0), -EMFILE);
	calls_no_descriptor = false;
	assert_int_equal(queue_outstanding(b.q), 0);
	calls_expect_nothing(b.q, -1);
	calls_tear_down(&b);
}

/* Each has its own reason, and stops none behind it. */
static void test_failed(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_completion done;
	rmem_addr_t addr;

	(void)state;
	addr = calls_alloc_block(b.q, 1);
	lender.fail_in = 2; /* the first asks for the number of the call site */
	lender.fail_with = -ENOSPC;
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 2), 0);
	assert_int_equal(rmem_start_free(b.q, addr + 1, 3), 0);
	assert_int_equal(rmem_start_free(b.q, addr, 4), 0);
	done = calls_reap_one(b.q, 2);
	assert_int_equal(done.status, -ENOSPC);
	assert_int_equal(done.result, 0);
	assert_string_equal(rmem_completion_errmsg(b.q, &done), "it was to fail");
	assert_non_null(strstr(rmem_errmsg(), "it was to fail"));
	done = calls_reap_one(b.q, 3);
	assert_int_equal(done.status, -EINVAL);
	assert_non_null(strstr(rmem_completion_errmsg(b.q, &done), "inside the allocation"));
	assert_int_equal(calls_reap_one(b.q, 4).status, 0);
	calls_tear_down(&b);
}

static void test_no_thread(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_completion done;

	(void)state;
	calls_no_thread = true;
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	done = calls_reap_one(b.q, 1);
	assert_int_equal(done.status, -EAGAIN);
	assert_non_null(strstr(rmem_completion_errmsg(b.q, &done), "thread"));
	calls_no_thread = false;
	calls_free_block(b.q, calls_alloc_block(b.q, 2), 3);
	calls_tear_down(&b);
}

/* The server is silent: the first waits for it until its time is over, the others never begin. */
static void test_time(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	rmem_addr_t addr = calls_alloc_block(b.q, 0);

	(void)state;
	calls_hold(&b);
	b.rm->session.timeout_ns = 20 * NSEC_PER_MSEC;
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 2), 0);
	assert_int_equal(rmem_start_free(b.q, addr, 3), 0);
	for (uint64_t tag = 1; tag <= 3; tag++) {
		assert_int_equal(calls_reap_one(b.q, tag).status, -ETIMEDOUT);
		assert_int_equal(strstr(rmem_errmsg(), "started before it") != NULL, tag > 1);
	}
	b.rm->session.timeout_ns = 90 * NSEC_PER_SEC;
	calls_let_go(&b);
	calls_free_block(b.q, addr, 4);
	calls_tear_down(&b);
}

/* An allocation is made in the session that comes after one that is lost; what was in the lost one is told so. */
static void test_lost(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	rmem_addr_t before = calls_alloc_block(b.q, 1), small = calls_alloc_small(b.q, NULL);

	(void)state;
	lender_lose_all(b.rm);
	assert_int_equal(rmem_start_free(b.q, before, 2), 0);
	assert_int_equal(rmem_start_free(b.q, small, 3), 0);
	assert_int_equal(calls_reap_one(b.q, 2).status, -ESTALE);
	assert_int_equal(calls_reap_one(b.q, 3).status, -ESTALE);
	calls_free_block(b.q, calls_alloc_block(b.q, 4), 5);
	assert_int_equal(rmem_free(b.rm, calls_alloc_small(b.q, NULL)), 0);
	calls_tear_down(&b);
}

/* All that has been started is over: calls are carried out in order. */
static void await_thread(struct calls_bench *b)
{
	struct rmem_queue *q;

	assert_int_equal(rmem_queue_create(b->rm, NULL, &q), 0);
	assert_int_equal(rmem_start_free(q, addr_make(0, 1), 1), 0);
	assert_int_equal(calls_reap_one(q, 1).status, -EINVAL);
	rmem_queue_destroy(q);
}

/* ---- attaching ---- */

static void test_attach(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem *owner = lender_open(false, false);
	struct rmem_share_key key;
	struct rmem_stat stat = RMEM_STAT_INIT;
	struct rmem_completion done;
	rmem_addr_t addr;

	(void)state;
	assert_int_equal(rmem_alloc(owner, CALLS_BLOCK, NULL, &addr), 0);
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 1), 0);
	memset(&key, 0, sizeof(key)); /* it was copied */
	done = calls_reap_one(b.q, 1);
	assert_int_equal(done.status, 0);
	assert_int_equal(done.result, CALLS_BLOCK);
	assert_int_equal(rmem_stat(b.rm, addr, &stat), 0);
	assert_int_equal(stat.flags, RMEM_STAT_ATTACHED);
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 2), 0);
	assert_int_equal(calls_reap_one(b.q, 2).status, -EEXIST);
	assert_int_equal(rmem_detach(b.rm, addr), 0);
	/* Not reaped: it is detached again. */
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 3), 0);
	await_thread(&b);
	rmem_queue_destroy(b.q);
	call_thread_finish(&b.rm->call_thread, UINT64_MAX / 2);
	assert_int_equal(rmem_stat(b.rm, addr, &stat), -EFAULT);
	assert_int_equal(lender.detached, 2);
	lender_close(owner);
	lender_close(b.rm);
}

/* The program has detached what was not reaped, and attached it anew: that one stays. */
static void test_attached_anew(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem *owner = lender_open(false, false);
	struct rmem_stat stat = RMEM_STAT_INIT;
	const unsigned detached = lender.detached;
	struct rmem_share_key key;
	rmem_addr_t addr;
	size_t bytes;

	(void)state;
	assert_int_equal(rmem_alloc(owner, CALLS_BLOCK, NULL, &addr), 0);
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 1), 0);
	await_thread(&b);
	assert_int_equal(rmem_detach(b.rm, addr), 0);
	assert_int_equal(rmem_attach(b.rm, addr, &key, &bytes), 0);
	rmem_queue_destroy(b.q);
	call_thread_finish(&b.rm->call_thread, UINT64_MAX / 2);
	assert_int_equal(rmem_stat(b.rm, addr, &stat), 0);
	assert_int_equal(lender.detached, detached + 1);
	lender_close(owner);
	lender_close(b.rm);
}

/* ---- what nobody reaps ---- */

/* Some are over, one is being carried out, some have not begun. */
static void test_destroy(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_queue *other;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_queue_create(b.rm, NULL, &other), 0);
	addr[0] = calls_alloc_block(b.q, 0);
	addr[1] = calls_alloc_block(b.q, 0);
	(void)rmem_free(b.rm, calls_alloc_small(b.q, NULL));
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	/* In order: when this one is over, the one before is. */
	assert_int_equal(rmem_start_free(other, addr[0], 2), 0);
	calls_reap_one(other, 2);
	calls_hold(&b);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rmem_start_alloc(b.q, 100, NULL, 3), 0);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 4), 0);
	assert_int_equal(rmem_start_free(b.q, addr[1], 5), 0);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 6), 0);
	rmem_queue_destroy(b.q); /* waits for none of them */
	b.q = other;
	calls_let_go(&b);
	calls_tear_down(&b);
}

static bool is_running(struct call_thread *t)
{
	bool running;

	pthread_mutex_lock(&t->lock);
	running = t->running;
	pthread_mutex_unlock(&t->lock);
	return running;
}

/* What nobody waits for is undone behind what is waited for: the second request is that of the other queue. */
static void test_undone_last(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_queue *q[2] = { b.q, NULL };
	/* The same lines, so that their numbers are known the second time. */
	volatile unsigned rounds = 2;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_queue_create(b.rm, NULL, &q[1]), 0);
	for (unsigned round = 0; round < rounds; round++) {
		calls_hold(&b);
		for (unsigned i = 0; i < rounds; i++)
			assert_int_equal(rmem_start_alloc(q[i], CALLS_BLOCK, NULL, i), 0);
		if (round == 0)
			calls_let_go(&b);
		for (unsigned i = 0; i < 2 && round == 0; i++)
			addr[i] = calls_reap_one(q[i], i).result;
		if (round == 0)
			assert_int_equal(rmem_free_many(b.rm, addr, 2), 0);
	}
	while (!is_running(&b.rm->call_thread)) /* the first: it waits for the control */
		sched_yield();
	rmem_queue_destroy(b.q);
	b.q = q[1];
	lender.fail_in = 2;
	lender.fail_with = -ENOSPC;
	calls_let_go(&b);
	assert_int_equal(calls_reap_one(b.q, 1).status, -ENOSPC);
	calls_tear_down(&b);
}

/* ... also behind what is started after the queue was destroyed: the second request is that call's. */
static void test_undone_after_later(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_queue *q;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_queue_create(b.rm, NULL, &q), 0);
	addr[0] = calls_alloc_block(q, 0);
	addr[1] = calls_alloc_block(q, 0);
	for (unsigned i = 0; i < CALLS_DEPTH; i++)
		assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, i), 0);
	await_thread(&b);
	calls_hold(&b);
	assert_int_equal(rmem_start_free(q, addr[0], 1), 0);
	while (!is_running(&b.rm->call_thread))
		sched_yield();
	rmem_queue_destroy(b.q);
	b.q = q;
	assert_int_equal(rmem_start_free(q, addr[1], 2), 0);
	lender.fail_in = 2;
	lender.fail_with = -ENOSPC;
	calls_let_go(&b);
	assert_int_equal(calls_reap_one(q, 1).status, 0);
	assert_int_equal(calls_reap_one(q, 2).status, -ENOSPC);
	calls_free_block(q, addr[1], 3);
	calls_tear_down(&b);
}

/* An allocation that nobody waits for is not asked for: only the one that is being carried out is, and freed. */
static void test_not_begun(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	uint64_t requests;

	(void)state;
	await_thread(&b);
	requests = lender.requests;
	calls_hold(&b);
	for (unsigned i = 0; i < CALLS_DEPTH; i++)
		assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, i), 0);
	while (!is_running(&b.rm->call_thread))
		sched_yield();
	rmem_queue_destroy(b.q);
	b.q = NULL;
	calls_let_go(&b);
	call_thread_finish(&b.rm->call_thread, UINT64_MAX / 2);
	assert_int_equal(lender.requests, requests + 3); /* the number of its line, ALLOC, FREE */
	calls_tear_down(&b);
}

static void test_destroy_warm(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	rmem_addr_t first[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rmem_start_alloc(b.q, 100, NULL, i), 0);
		if (i < 2)
			first[i] = calls_reap_address(b.q, i, 100);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rmem_free(b.rm, first[i]), 0);
	calls_tear_down(&b);
}

/* The session is closed while rmemd is silent: what has not begun is given up, and nothing waits for it. */
static void test_close_pending(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	uint64_t requests;

	(void)state;
	calls_free_block(b.q, calls_alloc_block(b.q, 1), 2);
	requests = lender.requests;
	calls_hold(&b);
	b.rm->session.timeout_ns = 20 * NSEC_PER_MSEC;
	for (unsigned i = 0; i < CALLS_DEPTH; i++)
		assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, i), 0);
	rmem_queue_destroy(b.q);
	call_thread_finish(&b.rm->call_thread, clock_boot_ns());
	call_thread_stop(&b.rm->call_thread);
	calls_let_go(&b);
	assert_int_equal(lender.requests, requests);
	lender_close(b.rm);
}

/* ---- descriptors, signals, children ---- */

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void test_descriptor(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, RMEM_QUEUE_WATCHED);
	const int fd = rmem_queue_fd(b.q), all = rmem_queues_fd(b.rm);
	struct rmem_queue *ready = NULL;

	(void)state;
	calls_expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	calls_hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	calls_expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	calls_let_go(&b);
	assert_true(is_readable(all, CALLS_LIMIT_MS));
	assert_int_equal(rmem_queues_ready(b.rm, &ready, 1), 1);
	assert_ptr_equal(ready, b.q);
	assert_int_equal(rmem_free(b.rm, calls_reap_address(b.q, 1, CALLS_BLOCK)), 0);
	calls_expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0); /* over at once */
	assert_true(is_readable(fd, CALLS_LIMIT_MS));
	calls_reap_one(b.q, 2);
	calls_tear_down(&b);
}

static void on_signal(int number)
{
	(void)number;
}

static void test_interrupted(void **state)
{
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_signal };
	struct calls_bench b = calls_set_up(CALLS_DEPTH, RMEM_QUEUE_INTERRUPTIBLE);
	struct rmem_completion done;

	(void)state;
	calls_hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(rmem_reap(b.q, &done, 1, CALLS_LIMIT_MS), -EINTR);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	calls_let_go(&b);
	calls_free_block(b.q, calls_reap_address(b.q, 1, CALLS_BLOCK), 2);
	calls_tear_down(&b);
}

static int in_child(struct calls_bench *b)
{
	struct rmem_share_key key;
	struct rmem_completion done;

	return rmem_start_alloc(b->q, CALLS_BLOCK, NULL, 2) == -EPERM &&
	       rmem_start_free(b->q, 0, 2) == -EPERM &&
	       rmem_start_attach(b->q, 0, &key, 2) == -EPERM &&
	       rmem_reap(b->q, &done, 1, 0) == -EPERM && rmem_close(b->rm) == 0;
}

static void test_fork(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	int status;
	pid_t pid;

	(void)state;
	calls_hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	pid = fork();
	if (pid == 0)
		_exit(in_child(&b) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	calls_let_go(&b);
	calls_free_block(b.q, calls_reap_address(b.q, 1, CALLS_BLOCK), 2);
	calls_tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_attached_anew),
		cmocka_unit_test(test_destroy),
		cmocka_unit_test(test_undone_last),
		cmocka_unit_test(test_undone_after_later),
		cmocka_unit_test(test_not_begun),
		cmocka_unit_test(test_destroy_warm),
		cmocka_unit_test(test_close_pending),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
