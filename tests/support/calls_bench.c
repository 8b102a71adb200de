/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/calls_bench.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "client/data/progress.h"

unsigned calls_may_complete;
bool calls_no_thread, calls_no_descriptor;

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
	for (; p->first && calls_may_complete; calls_may_complete--) {
		p->first = p->first->following;
		grace_add(&p->turn.ended, 1);
	}
	if (!p->first)
		p->last = NULL;
	return 0;
}

int __wrap_eventfd(unsigned count, int flags)
{
	if (!calls_no_descriptor)
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return calls_no_thread ? EAGAIN : __real_pthread_create(out, attr, fn, arg);
}

struct calls_bench calls_set_up(unsigned depth, uint32_t flags)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct calls_bench b = { .rm = lender_open(false, false) };

	assert_non_null(b.rm);
	attr.depth = depth;
	attr.flags = flags;
	assert_int_equal(rmem_queue_create(b.rm, &attr, &b.q), 0);
	calls_may_complete = 0;
	return b;
}

void calls_hold(struct calls_bench *b)
{
	struct errinfo errinfo;

	assert_int_equal(session_lock(&b->rm->session, UINT64_MAX, &errinfo), 0);
}

void calls_let_go(struct calls_bench *b)
{
	session_unlock(&b->rm->session);
}

void calls_tear_down(struct calls_bench *b)
{
	rmem_queue_destroy(b->q);
	call_thread_finish(&b->rm->call_thread, UINT64_MAX / 2);
	call_thread_stop(&b->rm->call_thread);
	thread_channels_drain(&b->rm->channels);
	assert_int_equal(lender_give_back(b->rm, true), 0);
	assert_int_equal(lender.lent_bytes, 0);
	lender_close(b->rm);
}

void calls_start_operation(struct rmem_queue *q, uint64_t tag)
{
	struct operation *op = &q->operations[queue_started(q) & q->mask];
	struct errinfo errinfo;

	assert_int_equal(queue_make_room(q, &errinfo), 0);
	*op = (struct operation){ .kind = OPERATION_WRITE, .tag = tag, .result = 8 };
	pipeline_append(&q->channel->pipeline, op);
	queue_set_short_end(q);
}

struct rmem_completion calls_reap_one(struct rmem_queue *q, uint64_t tag)
{
	struct rmem_completion done = { .tag = ~tag };

	assert_int_equal(rmem_reap(q, &done, 1, CALLS_LIMIT_MS), 1);
	assert_int_equal(done.tag, tag);
	return done;
}

rmem_addr_t calls_reap_address(struct rmem_queue *q, uint64_t tag, uint64_t bytes)
{
	const struct rmem_completion done = calls_reap_one(q, tag);
	const struct loan *loan = lender_find(done.result);

	assert_int_equal(done.status, 0);
	assert_non_null(loan);
	assert_true(done.result + bytes <= loan->addr + loan->bytes);
	return done.result;
}

rmem_addr_t calls_alloc_block(struct rmem_queue *q, uint64_t tag)
{
	assert_int_equal(rmem_start_alloc(q, CALLS_BLOCK, NULL, tag), 0);
	return calls_reap_address(q, tag, CALLS_BLOCK);
}

void calls_free_block(struct rmem_queue *q, rmem_addr_t addr, uint64_t tag)
{
	assert_int_equal(rmem_start_free(q, addr, tag), 0);
	assert_int_equal(calls_reap_one(q, tag).status, 0);
}

void calls_expect_nothing(struct rmem_queue *q, int timeout_ms)
{
	struct rmem_completion done;

	assert_int_equal(rmem_reap(q, &done, 1, timeout_ms), 0);
}

__attribute__((noinline)) rmem_addr_t calls_alloc_small(
	struct rmem_queue *q, const struct rmem_alloc_attr *attr)
{
	struct rmem_completion done;

	assert_int_equal(rmem_start_alloc(q, 100, attr, 1), 0);
	assert_int_equal(rmem_reap(q, &done, 1, CALLS_LIMIT_MS), 1);
	assert_int_equal(done.status, 0);
	return done.result;
}
