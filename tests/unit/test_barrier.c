/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records that change while they are sent, by threads that make no fence or, where the kernel refuses membarrier(2),
 * that do: whatever the journal says has been sent, the server has as it is. Each case is a process of its own:
 * a seccomp filter cannot be removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/base/barrier.h"
#include "client/space/call.h"
#include "common/size_class.h"
#include "tests/support/lender.h"

#define ROUNDS 5000
#define ROUNDS_VALGRIND 300
#define OBJECT_BYTES 400U
#define CHANGES 3

#define CANNOT 77

static bool refuse_membarrier(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
	       syscall(SYS_membarrier, 0, 0, 0) == -1 && errno == EPERM;
}

static struct {
	struct rmem *rm;
	_Atomic unsigned round, changed;
	_Atomic bool over, failed;
	bool warm; /* the thread's magazines are at hand */
} it;

/* In each round one object is freed and allocated some times. */
static void *change(void *arg)
{
	rmem_addr_t addr;

	(void)arg;
	if (rmem_alloc(it.rm, OBJECT_BYTES, NULL, &addr))
		it.failed = true;
	it.warm = thread_channels_cache_now(&it.rm->channels) != NULL;
	for (unsigned round = 1; !it.over; round++) {
		while (it.round < round && !it.over)
			sched_yield();
		for (unsigned i = 0; i < CHANGES && !it.over; i++)
			if (rmem_free(it.rm, addr) || rmem_alloc(it.rm, OBJECT_BYTES, NULL, &addr))
				it.failed = true;
		it.changed = round;
	}
	return NULL;
}

/* What has arrived is what is here. */
static bool all_is_there(void)
{
	for (const struct loan *loan = lender.loans; loan; loan = loan->next) {
		const struct slab *s = blocks_slab(&it.rm->session.blocks, loan->addr);

		for (uint32_t i = 0; i < s->slots; i++)
			if (lender_record(loan, i) != slab_record(s, i))
				return false;
	}
	return true;
}

/* 0: all was seen; 1 an error, 2 a change was lost. */
static int race(bool refused_later)
{
	const unsigned rounds = getenv("RMEM_TEST_VALGRIND") ? ROUNDS_VALGRIND : ROUNDS;
	pthread_t thread;
	int rc = 0;

	it.rm = lender_open(false, true);
	if (!it.rm || (refused_later && !refuse_membarrier()))
		return CANNOT;
	if (pthread_create(&thread, NULL, change, NULL))
		return 1;
	for (unsigned round = 1; round <= rounds / (refused_later ? 100 : 1) && !rc; round++) {
		it.round = round;
		rc = lender_flush(it.rm) != 0;
		while (it.changed < round)
			sched_yield();
		if (rc == 0 && !depot_is_sent(&it.rm->session.depot))
			rc = lender_flush(it.rm) != 0;
		if (rc == 0 && !all_is_there())
			rc = 2;
	}
	it.over = true;
	pthread_join(thread, NULL);
	return rc ? rc : it.failed;
}

static void in_a_process(int (*test)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(test());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CANNOT)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int with_membarrier(void)
{
	int rc;

	if (!barrier_is_there())
		return CANNOT;
	rc = race(false);
	return rc || it.warm ? rc : 3;
}

static int without_membarrier(void)
{
	int rc;

	if (!refuse_membarrier())
		return CANNOT;
	if (barrier_is_there())
		return 3;
	rc = race(false);
	return rc || !it.warm ? rc : 4;
}

/* A program that gives up rights when it has opened its session. */
static int membarrier_refused_later(void)
{
	return race(true);
}

static void test_with_membarrier(void **state)
{
	(void)state;
	in_a_process(with_membarrier);
}

static void test_without_membarrier(void **state)
{
	(void)state;
	in_a_process(without_membarrier);
}

static void test_membarrier_refused_later(void **state)
{
	(void)state;
	in_a_process(membarrier_refused_later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_with_membarrier),
		cmocka_unit_test(test_without_membarrier),
		cmocka_unit_test(test_membarrier_refused_later),
	};

	return cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
}
