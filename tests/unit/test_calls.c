/* SPDX-License-Identifier: BSD-3-Clause */
/* rmem_start_alloc() and its like among the operations of a queue: order, depth, what is done at once, many queues. */
#include "tests/support/calls_bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/api/alloc.h"

#define QUEUES 4
#define ROUNDS 200U

/* ---- order and depth ---- */

static void test_order(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_completion done[CALLS_DEPTH];
	rmem_addr_t addr;

	(void)state;
	calls_hold(&b);
	calls_start_operation(b.q, 1);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 2), 0);
	calls_start_operation(b.q, 3);
	assert_int_equal(rmem_start_free(b.q, 0, 4), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 5), 0);
	calls_start_operation(b.q, 6);
	calls_expect_nothing(b.q, 0);
	calls_may_complete = 3; /* all: those behind the call wait for it to be reported */
	assert_int_equal(rmem_reap(b.q, done, CALLS_DEPTH, 0), 1);
	assert_int_equal(done[0].tag, 1);
	calls_expect_nothing(b.q, 0);
	calls_expect_nothing(b.q, 20);
	calls_let_go(&b);
	addr = calls_reap_address(b.q, 2, CALLS_BLOCK);
	assert_int_equal(rmem_reap(b.q, done, 3, 0), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(done[i].tag, 3 + i);
	calls_reap_one(b.q, 6);
	calls_expect_nothing(b.q, -1);
	calls_free_block(b.q, addr, 7);
	calls_tear_down(&b);
}

/* Many times around the ring, at random. */
static void test_order_around(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_completion done[3];
	uint64_t started = 0, reaped = 0;
	unsigned seed = 5;

	(void)state;
	while (reaped < 5000) {
		const int what = rand_r(&seed) % 4;
		int n;

		if (queue_outstanding(b.q) < CALLS_DEPTH && what == 0)
			calls_start_operation(b.q, started++);
		else if (what == 1)
			started += rmem_start_free(b.q, 0, started) == 0;
		else if (what == 2 && rand_r(&seed) % 8 == 0)
			started += rmem_start_free(b.q, 0x9e00ffff00000000, started) == 0;
		calls_may_complete = (unsigned)rand_r(&seed) % 3;
		n = rmem_reap(b.q, done, 1 + rand_r(&seed) % 3, 0);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(done[i].tag, reaped++);
		assert_int_equal(queue_outstanding(b.q), started - reaped);
	}
	calls_may_complete = CALLS_DEPTH;
	calls_tear_down(&b);
}

static void test_depth(void **state)
{
	struct calls_bench b = calls_set_up(2, 0);
	char byte;

	(void)state;
	calls_hold(&b);
	calls_start_operation(b.q, 1);
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 3), -EAGAIN);
	assert_non_null(strstr(rmem_errmsg(), "reap some"));
	assert_int_equal(rmem_start_alloc(b.q, 8, NULL, 3), -EAGAIN);
	assert_int_equal(rmem_start_read(b.q, &byte, addr_make(0, 1 << 20), 1, 3), -EAGAIN);
	calls_may_complete = 1;
	calls_reap_one(b.q, 1);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 3), 0);
	assert_int_equal(rmem_start_free(b.q, 0, 4), -EAGAIN);
	calls_reap_one(b.q, 2);
	calls_let_go(&b);
	calls_free_block(b.q, calls_reap_address(b.q, 3, CALLS_BLOCK), 4);
	calls_tear_down(&b);
}

/* A silent operation that has completed makes room, but not past a call that has not been reaped. */
static void test_silent(void **state)
{
	struct calls_bench b = calls_set_up(4, 0);
	struct errinfo errinfo;

	(void)state;
	calls_start_operation(b.q, 1);
	b.q->operations[0].silent = true;
	assert_int_equal(rmem_start_free(b.q, 0, 2), 0);
	for (unsigned i = 1; i < 3; i++) {
		calls_start_operation(b.q, 2 + i);
		b.q->operations[i].silent = true;
	}
	calls_may_complete = 3;
	assert_int_equal(queue_make_room(b.q, &errinfo), 0);
	assert_int_equal(queue_outstanding(b.q), 3);
	assert_int_equal(rmem_start_free(b.q, 0, 5), 0);
	assert_int_equal(queue_make_room(b.q, &errinfo), -EAGAIN);
	calls_reap_one(b.q, 2);
	calls_reap_one(b.q, 5);
	calls_expect_nothing(b.q, -1);
	calls_tear_down(&b);
}

/* What is silent leaves, and the wait goes on. */
static void test_silent_before(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	const uint64_t began = clock_boot_ns();

	(void)state;
	calls_hold(&b);
	calls_start_operation(b.q, 1);
	b.q->operations[0].silent = true;
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 2), 0);
	calls_may_complete = 1;
	calls_expect_nothing(b.q, 20);
	assert_true(clock_boot_ns() - began >= 20 * NSEC_PER_MSEC);
	calls_let_go(&b);
	calls_free_block(b.q, calls_reap_address(b.q, 2, CALLS_BLOCK), 3);
	calls_tear_down(&b);
}

/* ---- small ones ---- */

/* The first from a line takes round trips; the others are over when they are started, also while rmemd is not asked. */
static void warm_up(bool attr_given)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	uint64_t requests = 0;
	rmem_addr_t addr[6];
	volatile unsigned last = 5; /* the compiler makes no call of its own for the last round */

	attr.align_bytes = 64;
	for (unsigned i = 0; i < 6; i++) {
		if (i == last)
			calls_hold(&b);
		/* The thread's memory of stacks is looked at first; with the control, nothing else. */
		addr[i] = calls_alloc_small(b.q, attr_given ? &attr : NULL);
		assert_true(lender_find(addr[i])->size_class != 0);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(addr[i], addr[k]);
		if (i == 0)
			requests = lender.requests;
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(rmem_start_free(b.q, addr[i], i), 0);
		assert_int_equal(calls_reap_one(b.q, i).status, 0);
	}
	assert_int_equal(rmem_start_free(b.q, addr[0], 7), 0);
	assert_int_equal(calls_reap_one(b.q, 7).status, -EINVAL);
	calls_let_go(&b);
	assert_int_equal(lender.requests, requests);
	calls_tear_down(&b);
}

static void test_warm(void **state)
{
	(void)state;
	warm_up(false);
	warm_up(true);
}

static uint8_t *memory_of(rmem_addr_t addr)
{
	const struct loan *loan = lender_find(addr);

	assert_non_null(loan);
	return loan->memory + (addr - loan->addr);
}

/* What was used before is written with zeroes, which only the thread does, also where all else is at hand. */
static void test_zero(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	rmem_addr_t addr[100];

	(void)state;
	assert_int_equal(rmem_alloc_many(b.rm, 100, 100, NULL, addr), 0);
	for (unsigned i = 0; i < 100; i++)
		memset(memory_of(addr[i]), 0xee, 100);
	assert_int_equal(rmem_free_many(b.rm, addr, 100), 0);
	thread_channels_drain(&b.rm->channels);
	attr.flags = RMEM_ALLOC_ZERO;
	for (unsigned i = 0; i < 4; i++) {
		addr[i] = calls_alloc_small(b.q, &attr);
		assert_int_equal(lender.writes, i + 1);
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(memory_of(addr[i])[k], 0);
	}
	assert_int_equal(rmem_free_many(b.rm, addr, 4), 0);
	lender.fail_write_in = 1;
	assert_int_equal(rmem_start_alloc(b.q, 100, &attr, 1), 0);
	assert_int_equal(calls_reap_one(b.q, 1).status, -ECONNRESET);
	calls_tear_down(&b);
}

/* Where was it made? As addr2line(1) takes it: in this program, so many bytes from its beginning. */
static unsigned long line_of(struct rmem *rm, rmem_addr_t addr)
{
	const struct block *block = blocks_find(&rm->session.blocks, addr);
	const char *plus;

	assert_non_null(block);
	plus = strstr(block->origin.code, "test_calls+0x");
	assert_non_null(plus);
	return strtoul(plus + strlen("test_calls+0x"), NULL, 16);
}

/* The call site is the program's, not the thread's. */
static void test_site(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	unsigned long waited, started;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_alloc(b.rm, CALLS_BLOCK, NULL, &addr[0]), 0);
	assert_int_equal(rmem_start_alloc(b.q, CALLS_BLOCK, NULL, 1), 0);
	addr[1] = calls_reap_address(b.q, 1, CALLS_BLOCK);
	waited = line_of(b.rm, addr[0]);
	started = line_of(b.rm, addr[1]);
	assert_in_range(started, waited + 1, waited + 1000);
	assert_int_equal(rmem_free_many(b.rm, addr, 2), 0);
	calls_tear_down(&b);
}

/* The free's, too, of what several may free: its stack is that of the thread that started it, not only its line. */
static __attribute__((noinline)) void free_site(size_t bytes)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	const struct rmem_share_attr attr = { sizeof(attr), RMEM_SHARE_MAY_FREE, 0 };
	struct rmem_share_key key;
	struct stack here, freed;
	rmem_addr_t addr;

	assert_int_equal(rmem_alloc(b.rm, bytes, NULL, &addr), 0);
	assert_int_equal(rmem_share_with(b.rm, addr, &attr, &key), 0);
	lender.freed_site = 0;
	assert_int_equal(rmem_start_free(b.q, addr, 1), 0);
	assert_int_equal(calls_reap_one(b.q, 1).status, 0);
	stack_capture(&here, __builtin_return_address(0));
	assert_true(sites_stack(b.rm->sites, lender.freed_site, &freed));
	assert_int_equal(freed.depth, here.depth + 1);
	assert_memory_equal(&freed.addresses[1], here.addresses, here.depth * sizeof(void *));
	calls_tear_down(&b);
}

static void test_free_site(void **state)
{
	(void)state;
	free_site(CALLS_BLOCK);
	free_site(100);
}

/* In a slab that was lost: what the server is asked about is for the thread, all else is said at once. */
static void test_lost_small(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
	struct rmem_share_key key;
	rmem_addr_t addr[2];

	(void)state;
	assert_int_equal(rmem_alloc_many(b.rm, 100, 2, NULL, addr), 0);
	assert_int_equal(rmem_share(b.rm, addr[0], &key), 0);
	assert_int_equal(rmem_free(b.rm, addr[0]), 0);
	lender_lose_all(b.rm);
	assert_true(slab_is_lost(blocks_slab(&b.rm->session.blocks, addr[0])));
	assert_false(alloc_releases_here(b.rm, addr[0]));
	assert_true(alloc_releases_here(b.rm, addr[1]));
	assert_int_equal(rmem_start_free(b.q, addr[1], 1), 0);
	assert_int_equal(calls_reap_one(b.q, 1).status, -ESTALE);
	calls_tear_down(&b);
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
	struct rmem_completion done[CALLS_DEPTH];
	struct rmem_queue *q;
	unsigned started = 0, reaped = 0;

	if (rmem_queue_create(w->rm, NULL, &q))
		return NULL;
	w->well = true;
	while (w->well && reaped < ROUNDS) {
		const int n =
			rmem_reap(q, done, CALLS_DEPTH, started - reaped < 4 ? 0 : CALLS_LIMIT_MS);

		w->well = n >= 0;
		for (int i = 0; w->well && i < n; i++) {
			w->well = done[i].status == 0;
			if (w->well && done[i].tag == w->number && done[i].result)
				w->well = rmem_start_free(q, done[i].result, ~0UL) == 0;
			started += done[i].tag == w->number && done[i].result;
		}
		reaped += n > 0 ? (unsigned)n : 0;
		if (w->well && started - reaped < 4) {
			w->well = rmem_start_alloc(
					  q, started % 3 ? 50 : CALLS_BLOCK, NULL, w->number) == 0;
			started++;
		}
	}
	rmem_queue_destroy(q);
	return NULL;
}

static void test_many(void **state)
{
	struct calls_bench b = calls_set_up(CALLS_DEPTH, 0);
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
	calls_tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_around),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_silent_before),
		cmocka_unit_test(test_warm),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_site),
		cmocka_unit_test(test_free_site),
		cmocka_unit_test(test_lost_small),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
