/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of operations, sentence by sentence of include/rmem/rmem.h: order and tags, depth, waiting with a
 * limit, fences, what an end finishes, and memory that is freed under operations. The descriptor:
 * test_descriptor.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/desk.h"
#include "tests/rxe/pattern.h"

static void test_order_and_depth(void **state)
{
	struct rmem_completion done;
	struct desk d;
	uint64_t tag = 0;

	desk_create(&d, *state, 8);
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0); /* nothing is outstanding */
	assert_int_equal(rmem_reap(d.q, &done, 1, 0), 0);
	for (int batch = 1; batch <= 9; batch++) {
		for (uint64_t i = 0; i < 8; i++) {
			pattern_fill(d.bytes + i * 1000, 1000, tag + i + 1);
			/* Every third does nothing, and has its turn. */
			lib_succeed(rmem_start_write(d.q, d.addr + i * 1000, d.bytes + i * 1000,
				i % 3 == 2 ? 0 : 1000, tag + i));
		}
		lib_expect(rmem_start_write(d.q, d.addr, d.bytes, 1, 99), -EAGAIN, "8 operations");
		lib_expect(rmem_start_read(d.q, NULL, 0, 0, 99), -EAGAIN, "8 operations");
		lib_expect(rmem_start_fetch_add(d.q, d.addr, 1, NULL, 99), -EAGAIN, "reap");
		desk_reap_in_order(d.q, tag, 3, batch);
		lib_succeed(rmem_start_read(d.q, d.bytes + 32 * KIB, d.addr, 2000, tag + 8));
		desk_reap_in_order(d.q, tag + 3, 6, batch);
		assert_int_equal(pattern_check(d.bytes + 32 * KIB, 1000, tag + 1), -1);
		assert_int_equal(pattern_check(d.bytes + 33 * KIB - 24, 1000, tag + 2), -1);
		tag += 9;
	}
	/* Only such as do nothing; tags are any numbers. */
	for (int i = 0; i < 8; i++)
		lib_succeed(rmem_start_writev(d.q, NULL, 0, NULL, 0, UINT64_MAX));
	for (int i = 0; i < 8; i++) {
		assert_int_equal(rmem_reap(d.q, &done, 1, -1), 1);
		assert_true(done.tag == UINT64_MAX && done.status == 0);
	}
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0);
	desk_destroy(&d);
}

static void check_wrong_queues(struct rmem *rm)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *untouched = (void *)&attr;

	attr.depth = 65537;
	lib_expect(rmem_queue_create(rm, &attr, &untouched), -EINVAL, "65536");
	attr = (struct rmem_queue_attr){ .size = 4 };
	lib_expect(rmem_queue_create(rm, &attr, &untouched), -EINVAL, "size");
	lib_expect(rmem_queue_create(rm, NULL, NULL), -EINVAL, "NULL");
	lib_expect(rmem_queue_create(NULL, NULL, &untouched), -EINVAL, "NULL");
	assert_ptr_equal(untouched, &attr);
	lib_expect(rmem_fence(NULL), -EINVAL, "NULL");
	lib_expect(rmem_submit(NULL), -EINVAL, "NULL");
	lib_expect(rmem_queue_fd(NULL), -EINVAL, "NULL");
	rmem_queue_destroy(NULL);
}

/* An error at the start means that nothing was started. */
static void test_wrong_starts(void **state)
{
	struct rmem_stats last = RMEM_STATS_INIT, s;
	struct rmem_completion done;
	struct rmem_iovec remote;
	struct iovec local;
	uint64_t old = 77;
	struct desk d;

	desk_create(&d, *state, 2);
	check_wrong_queues(d.rm);
	local = (struct iovec){ d.bytes, 10 };
	remote = (struct rmem_iovec){ d.addr, 11 };
	lib_expect(rmem_start_read(NULL, d.bytes, d.addr, 1, 1), -EINVAL, "NULL");
	lib_expect(rmem_start_read(d.q, NULL, d.addr, 1, 1), -EINVAL, "NULL");
	lib_expect(rmem_start_write(d.q, d.addr + DESK_BLOCK - 1, d.bytes, 2, 1), -EFAULT, "pass");
	lib_expect(rmem_start_write(d.q, 0, d.bytes, 2, 1), -EFAULT, "0x0");
	lib_expect(rmem_start_readv(d.q, &local, 1, &remote, 1, 1), -EINVAL, "equal");
	lib_expect(rmem_start_writev(d.q, &local, 1, &remote, -1, 1), -EINVAL, "1024");
	lib_expect(rmem_start_fetch_add(d.q, d.addr + 4, 1, &old, 1), -EINVAL, "multiple of 8");
	lib_expect(rmem_start_fetch_add(d.q, d.addr + DESK_BLOCK, 1, &old, 1), -EFAULT, "not in");
	lib_expect(rmem_start_compare_swap(d.q, 8, 1, 2, &old, 1), -EFAULT, "not in");
	lib_expect(rmem_reap(d.q, &done, 0, 0), -EINVAL, "room");
	lib_expect(rmem_reap(d.q, NULL, 1, 0), -EINVAL, "room");
	lib_expect(rmem_reap(NULL, &done, 1, 0), -EINVAL, "NULL");
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0);
	s = lib_news(d.rm, &last);
	assert_int_equal(lib_bytes(&s) + s.atomics + s.doorbells, 0);
	assert_int_equal(old, 77);
	/* And it works as before, to its full depth. */
	lib_succeed(rmem_start_fetch_add(d.q, d.addr, 5, NULL, 1));
	lib_succeed(rmem_start_fetch_add(d.q, d.addr, 5, &old, 2));
	desk_reap_in_order(d.q, 1, 2, 2);
	assert_int_equal(old, 5);
	/* Also where everything is known, and the way is short. */
	lib_succeed(rmem_write(d.rm, d.addr, d.bytes, 8));
	lib_succeed(rmem_write(d.rm, d.addr, d.bytes, 8));
	lib_expect(rmem_start_write(d.q, d.addr, NULL, 8, 1), -EINVAL, "NULL");
	lib_expect(rmem_start_read(d.q, NULL, d.addr, 600, 1), -EINVAL, "NULL");
	lib_expect(rmem_write(d.rm, d.addr, NULL, 8), -EINVAL, "NULL");
	lib_expect(rmem_read(d.rm, NULL, d.addr, 600), -EINVAL, "NULL");
	lib_expect(rmem_write(d.rm, d.addr + DESK_BLOCK - 7, d.bytes, 8), -EFAULT, "pass");
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0);
	desk_destroy(&d);
}

#define LONG_BYTES (24 * MIB)
#define LONG_TIMES 100 /* who did not run while it went sees nothing but its end */

/* How often waiting was in vain until it came. */
static unsigned reap_impatiently(struct rmem_queue *q)
{
	struct rmem_completion done;
	unsigned in_vain = 0;
	int n;

	do {
		uint64_t began = clock_boot_ns();

		n = rmem_reap(q, &done, 1, 2);
		assert_true(n == 1 || clock_boot_ns() - began >= 2 * NSEC_PER_MSEC);
		in_vain += n == 0;
	} while (n == 0);
	assert_int_equal(n, 1);
	lib_succeed(done.status);
	return in_vain;
}

/* Waiting ends when the time is over, and the operation goes on. */
static void test_reap_waits_so_long(void **state)
{
	struct rmem_completion done;
	uint8_t *bytes = lib_zeroes(LONG_BYTES);
	unsigned in_vain = 0;
	rmem_addr_t addr;
	struct desk d = { .rig = *state };

	rig_start(d.rig, (const char *const[]){ "--size", "64M", NULL });
	desk_create_session(&d);
	d.q = lib_queue(d.rm, 4);
	addr = lib_alloc(d.rm, LONG_BYTES);
	pattern_fill(bytes, LONG_BYTES, 5);
	for (int i = 0; i < LONG_TIMES && !in_vain; i++) {
		lib_succeed(rmem_start_write(d.q, addr, bytes, LONG_BYTES, 1));
		in_vain = reap_impatiently(d.q);
	}
	assert_true(in_vain > 0);
	memset(bytes, 0, LONG_BYTES);
	lib_succeed(rmem_start_read(d.q, bytes, addr, LONG_BYTES, 2));
	while (rmem_reap(d.q, &done, 1, 0) == 0)
		;
	lib_succeed(done.status);
	assert_int_equal(pattern_check(bytes, LONG_BYTES, 5), -1);
	lib_succeed(rmem_free(d.rm, addr));
	free(bytes);
	desk_destroy(&d);
}

#define LONG_PIECES 100UL /* more than can be registered at a time */
#define LONG_PIECE (80 * KIB)

/* Long pieces of memory that is not registered: they wait for each other. */
static void test_many_long_pieces(void **state)
{
	const size_t bytes = LONG_PIECES * LONG_PIECE;
	struct rmem_stats last = RMEM_STATS_INIT, s;
	uint8_t *memory = lib_zeroes(bytes);
	rmem_addr_t addr;
	struct desk d;

	desk_create(&d, *state, 2 * LONG_PIECES);
	addr = lib_alloc(d.rm, bytes);
	pattern_fill(memory, bytes, 6);
	for (size_t i = 0; i < LONG_PIECES; i++)
		lib_succeed(rmem_start_write(
			d.q, addr + i * LONG_PIECE, memory + i * LONG_PIECE, LONG_PIECE, i));
	desk_reap_in_order(d.q, 0, LONG_PIECES, 7);
	memset(memory, 0, bytes);
	for (size_t i = 0; i < LONG_PIECES; i++)
		lib_succeed(rmem_start_read(
			d.q, memory + i * LONG_PIECE, addr + i * LONG_PIECE, LONG_PIECE, i));
	desk_reap_in_order(d.q, 0, LONG_PIECES, 64);
	assert_int_equal(pattern_check(memory, bytes, 6), -1);
	s = lib_news(d.rm, &last);
	assert_int_equal(s.registered_bytes, 2 * bytes);
	assert_int_equal(s.registrations, 2 * LONG_PIECES);
	lib_succeed(rmem_free(d.rm, addr));
	free(memory);
	desk_destroy(&d);
}

/* set: of rmem_queues_fd(), which the child closes. */
static int use_in_child(struct desk *d, int set)
{
	struct rmem_completion done;
	struct rmem_queue *q = NULL;

	if (rmem_start_write(d->q, d->addr, d->bytes, 8, 0) != -EPERM ||
		rmem_start_read(d->q, d->bytes, d->addr, 8, 0) != -EPERM ||
		rmem_start_fetch_add(d->q, d->addr, 1, NULL, 0) != -EPERM)
		return 1;
	if (rmem_reap(d->q, &done, 1, 0) != -EPERM || rmem_submit(d->q) != -EPERM ||
		rmem_fence(d->q) != -EPERM || rmem_queue_fd(d->q) != -EPERM)
		return 2;
	if (rmem_queue_create(d->rm, NULL, &q) != -EPERM ||
		rmem_write(d->rm, d->addr, d->bytes, 8) != -EPERM)
		return 3;
	rmem_queue_destroy(d->q);
	if (rmem_close(d->rm) || fcntl(set, F_GETFD) >= 0)
		return 4;
	return rmem_open(d->rig->server, NULL, &d->rm) == -EPERM && strstr(rmem_errmsg(), "fork")
		       ? 0
		       : 5;
}

/* A child has none of it, and what the parent has started is not harmed by it. */
static void test_fork(void **state)
{
	uint8_t *copy = lib_zeroes(DESK_BLOCK);
	struct desk d;
	int status, set;
	pid_t pid;

	desk_create(&d, *state, 1000);
	set = rmem_queues_fd(d.rm);
	assert_true(set >= 0);
	pattern_fill(d.bytes, DESK_BLOCK, 7);
	lib_succeed(rmem_write(d.rm, d.addr, d.bytes, DESK_BLOCK));
	for (size_t i = 0; i < 500; i++)
		lib_succeed(rmem_start_read(d.q, copy + i * 128, d.addr + i * 128, 128, i));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(use_in_child(&d, set));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (size_t i = 0; i < 500; i++)
		lib_succeed(rmem_start_write(d.q, d.addr + i * 128, d.bytes, 128, 500 + i));
	desk_reap_in_order(d.q, 0, 1000, 64);
	assert_int_equal(pattern_check(copy, 500 * 128UL, 7), -1);
	lib_succeed(rmem_read(d.rm, copy, d.addr, 128));
	assert_int_equal(pattern_check(copy, 128, 7), -1);
	free(copy);
	desk_destroy(&d);
}

/* An end finishes what was started: of the queue, or of the session. */
static void test_end_finishes(void **state)
{
	uint8_t *copy = lib_zeroes(DESK_BLOCK);
	struct desk d;

	desk_create(&d, *state, 1000);
	pattern_fill(d.bytes, DESK_BLOCK, 3);
	for (size_t i = 0; i < 1000; i++)
		lib_succeed(rmem_start_write(d.q, d.addr + i * 64, d.bytes + i * 64, 64, i));
	rmem_queue_destroy(d.q);
	d.q = lib_queue(d.rm, 1000);
	for (size_t i = 0; i < 1000; i++)
		lib_succeed(rmem_start_read(d.q, copy + i * 64, d.addr + i * 64, 64, i));
	lib_succeed(rmem_close(d.rm));
	assert_int_equal(pattern_check(copy, 64000, 3), -1);
	free(copy);
	rig_stop(d.rig, true); /* the allocation is what a closed session has left */
}

/* What is read before a fence is what was there before the write behind it; nothing in between takes it away. */
static void test_fence(void **state)
{
	struct desk d;
	uint64_t tag = 0;

	desk_create(&d, *state, 16);
	for (uint64_t i = 1; i <= 300; i++) {
		pattern_fill(d.bytes, 16 * KIB, i);
		lib_succeed(rmem_start_write(d.q, d.addr, d.bytes, 16 * KIB, tag++));
		lib_succeed(rmem_start_read(d.q, d.bytes + 32 * KIB, d.addr, 16 * KIB, tag++));
		lib_succeed(rmem_fence(d.q));
		lib_succeed(rmem_fence(d.q)); /* twice is once */
		lib_succeed(rmem_start_write(d.q, d.addr, d.bytes, 0, tag++));
		lib_expect(rmem_start_write(d.q, 0, d.bytes, 1, 0), -EFAULT, "");
		pattern_fill(d.bytes + 16 * KIB, 16 * KIB, ~i);
		lib_succeed(rmem_start_write(d.q, d.addr, d.bytes + 16 * KIB, 16 * KIB, tag++));
		desk_reap_in_order(d.q, tag - 4, 4, 4);
		assert_int_equal(pattern_check(d.bytes + 32 * KIB, 16 * KIB, i), -1);
	}
	desk_destroy(&d);
}

/* ---- freed under operations ---- */

#define FREED_OPERATIONS 600UL

/* Every second is on memory that is freed meanwhile: it may fail, the others do not. */
static void test_free_under_operations(void **state)
{
	struct rmem_completion done;
	uint64_t failed = 0;
	rmem_addr_t gone;
	struct desk d;

	desk_create(&d, *state, FREED_OPERATIONS);
	pattern_fill(d.bytes, DESK_BLOCK, 4);
	for (int round = 0; round < 5; round++) {
		gone = lib_alloc(d.rm, DESK_BLOCK);
		for (size_t i = 0; i < FREED_OPERATIONS; i++)
			lib_succeed(rmem_start_write(
				d.q, (i % 2 ? gone : d.addr) + i * 100, d.bytes + i * 100, 100, i));
		lib_succeed(rmem_free(d.rm, gone));
		lib_expect(rmem_start_write(d.q, gone, d.bytes, 1, 0), -EAGAIN, "");
		for (size_t i = 0; i < FREED_OPERATIONS; i++) {
			assert_int_equal(rmem_reap(d.q, &done, 1, -1), 1);
			assert_int_equal(done.tag, i);
			if (i % 2 && done.status) {
				lib_expect(done.status, -EFAULT, "0x");
				failed++;
			} else {
				lib_succeed(done.status);
			}
		}
		lib_expect(rmem_start_write(d.q, gone, d.bytes, 1, 0), -EFAULT, "not in any");
		memset(d.bytes, 0, DESK_BLOCK);
		lib_succeed(rmem_read(d.rm, d.bytes, d.addr, DESK_BLOCK));
		for (size_t i = 0; i < FREED_OPERATIONS; i += 2) {
			uint8_t want[100];

			pattern_fill_at(want, i * 100, 100, 4);
			assert_memory_equal(d.bytes + i * 100, want, 100);
		}
		pattern_fill(d.bytes, DESK_BLOCK, 4);
	}
	printf("%" PRIu64 " of %lu failed\n", failed, 5 * FREED_OPERATIONS / 2);
	assert_true(failed > 0);
	desk_destroy(&d);
}

/*
 * Long pieces of registered memory go without the memory that short ones are copied through, and are
 * outstanding between those: what they end must not give away the place of one that was started later.
 */
#define FAR_BYTES (4 * MIB)
#define SHORT_BYTES ((size_t)4096)

static void test_short_behind_long(void **state)
{
	static uint8_t a[SHORT_BYTES], b[SHORT_BYTES], got[SHORT_BYTES];
	rmem_addr_t far;
	uint8_t *near;
	struct desk d;

	desk_create(&d, *state, 16);
	far = lib_alloc(d.rm, FAR_BYTES);
	near = lib_buffer(d.rm, FAR_BYTES);
	lib_succeed(rmem_write(d.rm, far, near, 8)); /* pages are there, and a channel */
	pattern_fill(a, sizeof(a), 11);
	pattern_fill(b, sizeof(b), 12);
	for (uint64_t round = 0; round < 4; round++) {
		lib_succeed(rmem_start_read(d.q, got, d.addr, sizeof(got), 0));
		lib_succeed(rmem_submit(d.q));
		for (uint64_t i = 1; i <= 4; i++)
			lib_succeed(rmem_start_write(d.q, far, near, FAR_BYTES, i));
		lib_succeed(rmem_submit(d.q));
		desk_reap_in_order(d.q, 0, 1, 1);
		lib_succeed(rmem_start_write(d.q, d.addr, a, sizeof(a), 5));
		lib_succeed(rmem_submit(d.q));
		desk_reap_in_order(d.q, 1, 1, 1);
		lib_succeed(rmem_start_write(d.q, d.addr + SHORT_BYTES, b, sizeof(b), 6));
		desk_reap_in_order(d.q, 2, 5, 1);
		lib_succeed(rmem_read(d.rm, got, d.addr, sizeof(got)));
		assert_memory_equal(got, a, sizeof(a));
		lib_succeed(rmem_read(d.rm, got, d.addr + SHORT_BYTES, sizeof(got)));
		assert_memory_equal(got, b, sizeof(b));
	}
	lib_succeed(rmem_free(d.rm, far));
	desk_destroy(&d);
}

/* ---- how many ---- */

#define QUEUES_MAX 128

static void test_many_queues(void **state)
{
	struct rmem_queue *queues[QUEUES_MAX];
	struct desk d;
	uint64_t word, sum = 0;

	desk_create(&d, *state, 4);
	for (int round = 0; round < 2; round++) {
		int n = 0, rc = 0;

		while (n < QUEUES_MAX && rc == 0) {
			rc = rmem_queue_create(d.rm, NULL, &queues[n]);
			n += rc == 0;
		}
		lib_expect(rc, -EUSERS, "channel");
		assert_int_equal(n + 1, 64 - 8 - 1); /* of all channels, without those of threads */
		lib_succeed(rmem_fetch_add(d.rm, d.addr + 8, 1, NULL));
		/* Each of them works, and the calls that wait do. */
		for (int i = 0; i < n; i++)
			lib_succeed(rmem_start_fetch_add(queues[i], d.addr, 1, &word, 7));
		for (int i = 0; i < n; i++)
			desk_reap_in_order(queues[i], 7, 1, 1);
		for (int i = 0; i < n; i++)
			rmem_queue_destroy(queues[i]);
		sum += (uint64_t)n;
		assert_int_equal(lib_read_word(d.rm, d.addr), sum);
	}
	desk_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_order_and_depth),
		RIG_TEST(test_wrong_starts),
		RIG_TEST(test_reap_waits_so_long),
		RIG_TEST(test_many_long_pieces),
		RIG_TEST(test_fork),
		RIG_TEST(test_end_finishes),
		RIG_TEST(test_fence),
		RIG_TEST(test_free_under_operations),
		RIG_TEST(test_short_behind_long),
		RIG_TEST(test_many_queues),
	};

	return rig_main(RIG_PORT_QUEUE, tests, sizeof(tests) / sizeof(tests[0]));
}
