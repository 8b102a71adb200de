/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the stack of a thread ends: what the kernel writes, and a thread that waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/scan/stack_pointer.h"

static void test_parse(void **state)
{
	static const char *const bad[] = { "", "\n", "-1", "x", "0 0x1\n", "0 0x1 0x2 0x3\n",
		"0 0x1 0x2x\n", "0  ", "1 2 3 4 5 6 7 8 9 10\n", "0 0x1 0x99999999999999999999\n",
		"run" };
	uint64_t sp = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(stack_pointer_parse(bad[i], &sp), -EPROTO);
	assert_int_equal(stack_pointer_parse("running\n", &sp), -EAGAIN);
	assert_int_equal(sp, 7);
	assert_int_equal(stack_pointer_parse(
				 "61 0x7ba0 0x7ffd 0x0 0x0 0x1 0x0 0x7ffddda80d08 0x7f0c\n", &sp),
		0);
	assert_int_equal(sp, 0x7ffddda80d08);
	assert_int_equal(stack_pointer_parse("-1 0x7ffd00 0x7f0c\n", &sp), 0);
	assert_int_equal(sp, 0x7ffd00);
}

struct sleeper {
	pthread_t thread;
	atomic_int tid;
	_Atomic uint64_t frame;
	int pipe[2];
};

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	char c;

	atomic_store(&s->frame, (uintptr_t)__builtin_frame_address(0));
	atomic_store(&s->tid, gettid());
	return read(s->pipe[0], &c, 1) == 1 ? NULL : s;
}

static void test_sleeper(void **state)
{
	struct sleeper s = { 0 };
	uint64_t sp;
	void *result;
	int rc;

	(void)state;
	assert_int_equal(pipe(s.pipe), 0);
	assert_int_equal(pthread_create(&s.thread, NULL, sleeper_main, &s), 0);
	while (!atomic_load(&s.tid))
		sched_yield();
	while ((rc = stack_pointer_read(atomic_load(&s.tid), &sp)) == -EAGAIN)
		sched_yield();
	/* A kernel may have been built without. */
	if (rc == 0 && !getenv("RMEM_TEST_VALGRIND")) /* whose stack it would be */
		assert_true(sp < s.frame && s.frame - sp < 4096);
	else
		assert_true(!rc || rc == -ENOENT || rc == -EACCES);
	assert_int_equal(write(s.pipe[1], "x", 1), 1);
	pthread_join(s.thread, &result);
	assert_null(result);
	assert_int_equal(stack_pointer_read(0, &sp), -ENOENT);
	close(s.pipe[0]);
	close(s.pipe[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_sleeper),
	};

	return cmocka_run_group_tests_name("stack_pointer", tests, NULL, NULL);
}
