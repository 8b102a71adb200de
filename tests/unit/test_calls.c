/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem_start_alloc() and its like, with a lender in the process (tests/support/lender.h): order, depth, failures, and what
 * becomes of calls that nobody reaps. Operations between them complete when the test says so; the thread that carries
 * calls out stands still while the test has the session's control.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/api/queue.h"
#include "client/data/progress.h"
#include "common/size_class.h"
#include "tests/support/lender.h"

#define BLOCK 100000U /* no small one */
#define DEPTH 8
#define LIMIT_MS 90000
#define QUEUES 4
#define ROUNDS 200U

static unsigned may_complete; /* operations, at the next look */
static bool no_thread, no_descriptor;

int __wrap_progress_advance(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);
int __wrap_eventfd(unsigned count, int flags);
int __real_eventfd(unsigned count, int flags);
int __wrap_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __real_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

int __wrap_progress_advance(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;

	(void)deadline_ns;
	(void)errinfo;
	for (; p->first && may_complete; may_complete--) {
		p->first = p->first->following;
		grace_add(&p->turn.ended, 1);
	}
	if (!p->first)
		p->last = NULL;
	return 0;
}

int __wrap_eventfd(unsigned count, int flags)
{
	if (!no_descriptor)
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return no_thread ? EAGAIN : __real_pthread_create(out, attr, fn, arg);
}

/* ---- a session with a queue ---- */

struct bench {
	struct rmem *rm;
	struct rmem_queue *q;
};

static struct bench set_up(unsigned depth, uint32_t flags)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct bench b = { .rm = lender_open(false, false) };

	assert_non_null(b.rm);
	attr.depth = depth;
	attr.flags = flags;
	assert_int_equal(rmem_queue_create(b.rm, &attr, &b.q), 0);
	may_complete = 0;
	return b;
}

static void hold(struct bench *b)
{
	struct errinfo errinfo;

	assert_int_equal(session_lock(&b->rm->session, UINT64_MAX, &errinfo), 0);
}

static void let_go(struct bench *b)
{
	session_unlock(&b->rm->session);
}

/* All that is left of calls is done; slabs are given back; then nothing is lent. */
static void tear_down(struct bench *b)
{
	rmem_queue_destroy(b->q);
	call_thread_finish(&b->rm->call_thread, UINT64_MAX / 2);
	call_thread_stop(&b->rm->call_thread);
	thread_channels_drain(&b->rm->channels);
	assert_int_equal(lender_give_back(b->rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender_close(b->rm);
}

/* As progress_start() leaves an operation that is on its way. */
static void start_operation(struct rmem_queue *q, uint64_t tag)
{
	struct operation *op = &q->operations[queue_started(q) & q->mask];
	struct errinfo errinfo;

	assert_int_equal(queue_make_room(q, &errinfo), 0);
	*op = (struct operation){ .kind = OPERATION_WRITE, .tag = tag, .result = 8 };
	pipeline_append(&q->channel->pipeline, op);
	queue_set_short_end(q);
}

static struct rmem_completion reap_one(struct rmem_queue *q, uint64_t tag)
{
	struct rmem_completion done = { .tag = ~tag };

	assert_int_equal(rmem_reap(q, &done, 1, LIMIT_MS), 1);
	assert_int_equal(done.tag, tag);
	return done;
}

static rmem_addr_t reap_address(struct rmem_queue *q, uint64_t tag, uint64_t bytes)
{
	const struct rmem_completion done = reap_one(q, tag);
	const struct loan *loan = lender_find(done.result);

	assert_int_equal(done.status, 0);
	assert_non_null(loan);
	assert_true(done.result + bytes <= loan->addr + loan->bytes);
	return done.result;
}

static rmem_addr_t alloc_block(struct rmem_queue *q, uint64_t tag)
{
	assert_int_equal(rmem_start_alloc(q, BLOCK, NULL, tag), 0);
	return reap_address(q, tag, BLOCK);
}

static void free_block(struct rmem_queue *q, rmem_addr_t addr, uint64_t tag)
{
	assert_int_equal(rmem_start_free(q, addr, tag), 0);
	assert_int_equal(reap_one(q, tag).status, 0);
}

static void expect_nothing(struct rmem_queue *q, int timeout_ms)
{
	struct rmem_completion done;

	assert_int_equal(rmem_reap(q, &done, 1, timeout_ms), 0);
}

/* ---- order and depth ---- */

static void test_order(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem_completion done[DEPTH];
	rmem_addr_t addr;

	(void)state;
	hold(&b);
	start_operation(b.q, 1);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 2), 0);
	start_operation(b.q, 3);
	assert_int_equal(rmem_start_free(b.q, 0, 4), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 5), 0);
	start_operation(b.q, 6);
	expect_nothing(b.q, 0);
	may_complete = 3; /* all: those behind the call wait for it to be reported */
	assert_int_equal(rmem_reap(b.q, done, DEPTH, 0), 1);
	assert_int_equal(done[0].tag, 1);
	expect_nothing(b.q, 0);
	expect_nothing(b.q, 20);
	let_go(&b);
	addr = reap_address(b.q, 2, BLOCK);
	assert_int_equal(rmem_reap(b.q, done, 3, 0), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(done[i].tag, 3 + i);
	reap_one(b.q, 6);
	expect_nothing(b.q, -1);
	free_block(b.q, addr, 7);
	tear_down(&b);
}

/* Many times around the ring, at random. */
static void test_order_around(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem_completion done[3];
	uint64_t started = 0, reaped = 0;
	unsigned seed = 5;

	(void)state;
	while (reaped < 5000) {
		const int what = rand_r(&seed) % 4;
		int n;

		if (queue_outstanding(b.q) < DEPTH && what == 0)
			start_operation(b.q, started++);
		else if (what == 1)
			started += rmem_start_free(b.q, 0, started) == 0;
		else if (what == 2 && rand_r(&seed) % 8 == 0)
			started += rmem_start_free(b.q, 0x9e00ffff00000000, started) == 0;
		may_complete = (unsigned)rand_r(&seed) % 3;
		n = rmem_reap(b.q, done, 1 + rand_r(&seed) % 3, 0);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(done[i].tag, reaped++);
		assert_int_equal(queue_outstanding(b.q), started - reaped);
	}
	may_complete = DEPTH;
	tear_down(&b);
}

static void test_depth(void **state)
{
	struct bench b = set_up(2, 0);
	char byte;

	(void)state;
	hold(&b);
	start_operation(b.q, 1);
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 3), -EAGAIN);
	assert_non_null(strstr(rmem_errmsg(), "reap some"));
	assert_int_equal(rmem_start_alloc(b.q, 8, NULL, 3), -EAGAIN);
	assert_int_equal(rmem_start_read(b.q, &byte, addr_make(0, 1 << 20), 1, 3), -EAGAIN);
	may_complete = 1;
	reap_one(b.q, 1);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 3), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 4), -EAGAIN);
	reap_one(b.q, 2);
	let_go(&b);
	free_block(b.q, reap_address(b.q, 3, BLOCK), 4);
	tear_down(&b);
}

/* A silent operation that has completed makes room, but not past a call that has not been reaped. */
static void test_silent(void **state)
{
	struct bench b = set_up(4, 0);
	struct errinfo errinfo;

	(void)state;
	start_operation(b.q, 1);
	b.q->operations[0].silent = true;
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0);
	for (unsigned i = 1; i < 3; i++) {
		start_operation(b.q, 2 + i);
		b.q->operations[i].silent = true;
	}
	may_complete = 3;
	assert_int_equal(queue_make_room(b.q, &errinfo), 0);
	assert_int_equal(queue_outstanding(b.q), 3);
	assert_int_equal(rmem_start_free(b.q, 0, 5), 0);
	assert_int_equal(queue_make_room(b.q, &errinfo), -EAGAIN);
	reap_one(b.q, 2);
	reap_one(b.q, 5);
	expect_nothing(b.q, -1);
	tear_down(&b);
}

/* ---- small ones ---- */

static rmem_addr_t alloc_small(struct rmem_queue *q, const struct rmem_alloc_attr *attr)
{
	struct rmem_completion done;

	assert_int_equal(rmem_start_alloc(q, 100, attr, 1), 0);
	assert_int_equal(rmem_reap(q, &done, 1, LIMIT_MS), 1);
	assert_int_equal(done.status, 0);
	return done.result;
}

/* The first from a line takes round trips; the others are over when they are started, also while rmemd is not asked. */
static void warm_up(bool attr_given)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct bench b = set_up(DEPTH, 0);
	uint64_t requests = 0;
	rmem_addr_t addr[6];
	volatile unsigned last = 5; /* the compiler makes no call of its own for the last round */

	attr.align_bytes = 64;
	for (unsigned i = 0; i < 6; i++) {
		if (i == last)
			hold(&b);
		/* The thread's memory of stacks is looked at first; with the control, nothing else. */
		addr[i] = alloc_small(b.q, attr_given ? &attr : NULL);
		assert_true(lender_find(addr[i])->size_class != 0);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(addr[i], addr[k]);
		if (i == 0)
			requests = lender.requests;
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(rmem_start_free(b.q, addr[i], i), 0);
		assert_int_equal(reap_one(b.q, i).status, 0);
	}
	assert_int_equal(rmem_start_free(b.q, addr[0], 7), 0);
	assert_int_equal(reap_one(b.q, 7).status, -EINVAL);
	let_go(&b);
	assert_int_equal(lender.requests, requests);
	tear_down(&b);
}

static void test_warm(void **state)
{
	(void)state;
	warm_up(false);
	warm_up(true);
}

/* What was used before is written with zeroes, which only the thread does. */
static void test_zero(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct bench b = set_up(DEPTH, 0);
	const struct loan *loan;
	rmem_addr_t used, addr;
	uint64_t writes;

	(void)state;
	attr.flags = RMEM_ALLOC_ZERO;
	used = alloc_small(b.q, NULL);
	loan = lender_find(used);
	memset(loan->memory + (used - loan->addr), 0xee, 100);
	assert_int_equal(rmem_free(b.rm, used), 0);
	thread_channels_drain(&b.rm->channels);
	writes = lender.writes;
	addr = alloc_small(b.q, &attr);
	assert_int_equal(addr, used);
	assert_int_equal(lender.writes, writes + 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(loan->memory[addr - loan->addr + i], 0);
	assert_int_equal(rmem_free(b.rm, addr), 0);
	thread_channels_drain(&b.rm->channels);
	lender.fail_write_in = 1;
	assert_int_equal(rmem_start_alloc(b.q, 100, &attr, 1), 0);
	assert_int_equal(reap_one(b.q, 1).status, -ECONNRESET);
	tear_down(&b);
}

/* ---- failures ---- */

static void test_wrong(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rmem_share_key key = { { 0 } };
	struct bench b = set_up(DEPTH, 0);

	(void)state;
	assert_int_equal(rmem_start_alloc(NULL, 1, NULL, 0), -EINVAL);
	assert_int_equal(rmem_start_free(NULL, 0, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(NULL, 0, &key, 0), -EINVAL);
	assert_int_equal(rmem_start_alloc(b.q, 0, NULL, 0), -EINVAL);
	attr.flags = 1U << 30;
	assert_int_equal(rmem_start_alloc(b.q, 1, &attr, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(b.q, BLOCK, NULL, 0), -EINVAL);
	assert_int_equal(rmem_start_attach(b.q, BLOCK, &key, 0), -EINVAL);
	no_descriptor = true;
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 0), -EMFILE);
	no_descriptor = false;
	assert_int_equal(queue_outstanding(b.q), 0);
	expect_nothing(b.q, -1);
	tear_down(&b);
}

/* Each has its own reason, and stops none behind it. */
static void test_failed(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem_completion done;
	rmem_addr_t addr;

	(void)state;
	addr = alloc_block(b.q, 1);
	lender.fail_in = 2; /* the first asks for the number of the call site */
	lender.fail_with = -ENOSPC;
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 2), 0);
	assert_int_equal(rmem_start_free(b.q, addr + 1, 3), 0);
	assert_int_equal(rmem_start_free(b.q, addr, 4), 0);
	done = reap_one(b.q, 2);
	assert_int_equal(done.status, -ENOSPC);
	assert_int_equal(done.result, 0);
	assert_string_equal(rmem_completion_errmsg(b.q, &done), "it was to fail");
	assert_non_null(strstr(rmem_errmsg(), "it was to fail"));
	done = reap_one(b.q, 3);
	assert_int_equal(done.status, -EINVAL);
	assert_non_null(strstr(rmem_completion_errmsg(b.q, &done), "inside the allocation"));
	assert_int_equal(reap_one(b.q, 4).status, 0);
	tear_down(&b);
}

static void test_no_thread(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem_completion done;

	(void)state;
	no_thread = true;
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	done = reap_one(b.q, 1);
	assert_int_equal(done.status, -EAGAIN);
	assert_non_null(strstr(rmem_completion_errmsg(b.q, &done), "thread"));
	no_thread = false;
	free_block(b.q, alloc_block(b.q, 2), 3);
	tear_down(&b);
}

/* The server is silent: the first waits for it until its time is over, the others never begin. */
static void test_time(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	rmem_addr_t addr = alloc_block(b.q, 0);

	(void)state;
	hold(&b);
	b.rm->session.timeout_ns = 20 * NSEC_PER_MSEC;
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 2), 0);
	assert_int_equal(rmem_start_free(b.q, addr, 3), 0);
	for (uint64_t tag = 1; tag <= 3; tag++)
		assert_int_equal(reap_one(b.q, tag).status, -ETIMEDOUT);
	b.rm->session.timeout_ns = 90 * NSEC_PER_SEC;
	let_go(&b);
	free_block(b.q, addr, 4);
	tear_down(&b);
}

/* An allocation is made in the session that comes after one that is lost; what was in the lost one is told so. */
static void test_lost(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	rmem_addr_t before = alloc_block(b.q, 1), small = alloc_small(b.q, NULL);

	(void)state;
	lender_lose_all(b.rm);
	assert_int_equal(rmem_start_free(b.q, before, 2), 0);
	assert_int_equal(rmem_start_free(b.q, small, 3), 0);
	assert_int_equal(reap_one(b.q, 2).status, -ESTALE);
	assert_int_equal(reap_one(b.q, 3).status, -ESTALE);
	free_block(b.q, alloc_block(b.q, 4), 5);
	assert_int_equal(rmem_free(b.rm, alloc_small(b.q, NULL)), 0);
	tear_down(&b);
}

/* ---- attaching ---- */

static void test_attach(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem *owner = lender_open(false, false);
	struct rmem_share_key key;
	struct rmem_stat stat = RMEM_STAT_INIT;
	struct rmem_completion done;
	rmem_addr_t addr;

	(void)state;
	assert_int_equal(rmem_alloc(owner, BLOCK, NULL, &addr), 0);
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 1), 0);
	memset(&key, 0, sizeof(key)); /* it was copied */
	done = reap_one(b.q, 1);
	assert_int_equal(done.status, 0);
	assert_int_equal(done.result, BLOCK);
	assert_int_equal(rmem_stat(b.rm, addr, &stat), 0);
	assert_int_equal(stat.flags, RMEM_STAT_ATTACHED);
	assert_int_equal(rmem_share(owner, addr, &key), 0);
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 2), 0);
	assert_int_equal(reap_one(b.q, 2).status, -EEXIST);
	assert_int_equal(rmem_detach(b.rm, addr), 0);
	/* Not reaped: it is detached again. */
	assert_int_equal(rmem_start_attach(b.q, addr, &key, 3), 0);
	rmem_queue_destroy(b.q);
	call_thread_finish(&b.rm->call_thread, UINT64_MAX / 2);
	assert_int_equal(rmem_stat(b.rm, addr, &stat), -EFAULT);
	lender_close(owner);
	lender_close(b.rm);
}

/* ---- what nobody reaps ---- */

/* Some are over, one is being carried out, some have not begun. */
static void test_destroy(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct rmem_queue *other;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_queue_create(b.rm, NULL, &other), 0);
	addr[0] = alloc_block(b.q, 0);
	addr[1] = alloc_block(b.q, 0);
	(void)rmem_free(b.rm, alloc_small(b.q, NULL));
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	/* In order: when this one is over, the one before is. */
	assert_int_equal(rmem_start_free(other, addr[0], 2), 0);
	reap_one(other, 2);
	hold(&b);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rmem_start_alloc(b.q, 100, NULL, 3), 0);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 4), 0);
	assert_int_equal(rmem_start_free(b.q, addr[1], 5), 0);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 6), 0);
	rmem_queue_destroy(b.q); /* waits for none of them */
	b.q = other;
	let_go(&b);
	tear_down(&b);
}

static void test_destroy_warm(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	rmem_addr_t first[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rmem_start_alloc(b.q, 100, NULL, i), 0);
		if (i < 2)
			first[i] = reap_address(b.q, i, 100);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rmem_free(b.rm, first[i]), 0);
	tear_down(&b);
}

/* The session is closed while rmemd is silent: what has not begun is given up, and nothing waits for it. */
static void test_close_pending(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	uint64_t requests;

	(void)state;
	free_block(b.q, alloc_block(b.q, 1), 2);
	requests = lender.requests;
	hold(&b);
	b.rm->session.timeout_ns = 20 * NSEC_PER_MSEC;
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, i), 0);
	rmem_queue_destroy(b.q);
	call_thread_finish(&b.rm->call_thread, clock_boot_ns());
	call_thread_stop(&b.rm->call_thread);
	let_go(&b);
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
	struct bench b = set_up(DEPTH, RMEM_QUEUE_WATCHED);
	const int fd = rmem_queue_fd(b.q), all = rmem_queues_fd(b.rm);
	struct rmem_queue *ready = NULL;

	(void)state;
	expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	let_go(&b);
	assert_true(is_readable(all, LIMIT_MS));
	assert_int_equal(rmem_queues_ready(b.rm, &ready, 1), 1);
	assert_ptr_equal(ready, b.q);
	assert_int_equal(rmem_free(b.rm, reap_address(b.q, 1, BLOCK)), 0);
	expect_nothing(b.q, 0);
	assert_false(is_readable(fd, 0));
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0); /* over at once */
	assert_true(is_readable(fd, LIMIT_MS));
	reap_one(b.q, 2);
	tear_down(&b);
}

static void on_signal(int number)
{
	(void)number;
}

static void test_interrupted(void **state)
{
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_signal };
	struct bench b = set_up(DEPTH, RMEM_QUEUE_INTERRUPTIBLE);
	struct rmem_completion done;

	(void)state;
	hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(rmem_reap(b.q, &done, 1, LIMIT_MS), -EINTR);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	let_go(&b);
	free_block(b.q, reap_address(b.q, 1, BLOCK), 2);
	tear_down(&b);
}

static int in_child(struct bench *b)
{
	struct rmem_share_key key;
	struct rmem_completion done;

	return rmem_start_alloc(b->q, BLOCK, NULL, 2) == -EPERM &&
	       rmem_start_free(b->q, 0, 2) == -EPERM &&
	       rmem_start_attach(b->q, 0, &key, 2) == -EPERM &&
	       rmem_reap(b->q, &done, 1, 0) == -EPERM && rmem_close(b->rm) == 0;
}

static void test_fork(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	int status;
	pid_t pid;

	(void)state;
	hold(&b);
	assert_int_equal(rmem_start_alloc(b.q, BLOCK, NULL, 1), 0);
	pid = fork();
	if (pid == 0)
		_exit(in_child(&b) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	let_go(&b);
	free_block(b.q, reap_address(b.q, 1, BLOCK), 2);
	tear_down(&b);
}

/* ---- many queues ---- */

struct worker {
	pthread_t thread;
	struct rmem *rm;
	unsigned number;
	bool well;
};

/* Blocks and small ones, of which some are left when the queue ends. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct rmem_completion done[DEPTH];
	struct rmem_queue *q;
	unsigned started = 0, reaped = 0;

	if (rmem_queue_create(w->rm, NULL, &q))
		return NULL;
	w->well = true;
	while (w->well && reaped < ROUNDS) {
		const int n = rmem_reap(q, done, DEPTH, started - reaped < 4 ? 0 : LIMIT_MS);

		w->well = n >= 0;
		for (int i = 0; w->well && i < n; i++) {
			w->well = done[i].status == 0;
			if (w->well && done[i].tag == w->number && done[i].result)
				w->well = rmem_start_free(q, done[i].result, ~0UL) == 0;
			started += done[i].tag == w->number && done[i].result;
		}
		reaped += n > 0 ? (unsigned)n : 0;
		if (w->well && started - reaped < 4) {
			w->well =
				rmem_start_alloc(q, started % 3 ? 50 : BLOCK, NULL, w->number) == 0;
			started++;
		}
	}
	rmem_queue_destroy(q);
	return NULL;
}

static void test_many(void **state)
{
	struct bench b = set_up(DEPTH, 0);
	struct worker w[QUEUES];

	(void)state;
	for (unsigned i = 0; i < QUEUES; i++) {
		w[i] = (struct worker){ .rm = b.rm, .number = i };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		pthread_join(w[i].thread, NULL);
		assert_true(w[i].well);
	}
	tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_around),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_warm),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_destroy),
		cmocka_unit_test(test_destroy_warm),
		cmocka_unit_test(test_close_pending),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
