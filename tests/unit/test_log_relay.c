/* SPDX-License-Identifier: BSD-3-Clause */
/* The log, as a function of the program gets it: rmem_set_log(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/base/log_relay.h"
#include "common/clock.h"
#include "rmem/rmem.h"

#define LIMIT_NS (60 * NSEC_PER_SEC)
#define THREADS 4
#define CALLS 500

/* What has come, and a door that is mostly open. */
static struct {
	atomic_uint lines, lost, wrong;
	sem_t came, door;
	atomic_bool shut;
	int level;
	char text[1024];
	pthread_t thread;
	int inside; /* what a call from inside returned */
} seen;

static void wait_sem(sem_t *sem)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 60;
	assert_int_equal(sem_timedwait(sem, &limit), 0);
}

static void take(void *user, int level, const char *text)
{
	unsigned lost = 0;

	if (user != &seen)
		atomic_fetch_add(&seen.wrong, 1);
	seen.level = level;
	seen.thread = pthread_self();
	snprintf(seen.text, sizeof(seen.text), "%s", text);
	if (sscanf(text, "%u line", &lost) == 1)
		atomic_fetch_add(&seen.lost, lost);
	else
		atomic_fetch_add(&seen.lines, 1);
	sem_post(&seen.came);
	if (seen.shut)
		sem_wait(&seen.door);
}

static int begin(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	sem_init(&seen.came, 0, 0);
	sem_init(&seen.door, 0, 0);
	return 0;
}

/* A line, at RMEM_LOG_INFO. */
static void fail_once(void)
{
	if (rmem_open(NULL, NULL, NULL) != -EINVAL)
		atomic_fetch_add(&seen.wrong, 1);
}

static void test_lines(void **state)
{
	(void)state;
	fail_once();
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	fail_once();
	wait_sem(&seen.came);
	assert_int_equal(seen.level, RMEM_LOG_INFO);
	assert_string_equal(seen.text, "rmem_open: out is NULL");
	assert_false(pthread_equal(seen.thread, pthread_self()));
	/* Not what is of no interest. */
	assert_int_equal(rmem_set_log(RMEM_LOG_WARN, take, &seen), 0);
	fail_once();
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	fail_once();
	assert_int_equal(seen.lines, 1);
	assert_int_equal(seen.wrong, 0);
}

static void test_wrong(void **state)
{
	(void)state;
	assert_int_equal(rmem_set_log(0, take, &seen), -EINVAL);
	assert_int_equal(rmem_set_log(RMEM_LOG_DEBUG + 1, take, &seen), -EINVAL);
	assert_int_equal(rmem_set_log(0, NULL, NULL), 0); /* no level is needed to end it */
	assert_int_equal(seen.lines, 0);
}

/* Who logs never waits for the function. */
static void test_slow(void **state)
{
	(void)state;
	seen.shut = true;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	fail_once();
	wait_sem(&seen.came); /* it stands at the door */
	for (unsigned i = 0; i < CALLS; i++)
		fail_once();
	seen.shut = false;
	sem_post(&seen.door);
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	/* All that there was room for has come before that returned, and the rest was counted. */
	assert_int_equal(seen.lines, 1 + 64);
	assert_int_equal(seen.lost, CALLS - 64);
	assert_int_equal(seen.level, RMEM_LOG_WARN + 1);
}

static void *fail_often(void *arg)
{
	for (unsigned i = 0; i < CALLS; i++)
		fail_once();
	return arg;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fail_often, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	assert_int_equal(seen.lines + seen.lost, THREADS * CALLS);
	assert_string_equal(
		seen.lost ? "rmem_open: out is NULL" : seen.text, "rmem_open: out is NULL");
	assert_int_equal(seen.wrong, 0);
}

/* One that does not return is waited for until the deadline, and gets nothing more. */
static void test_stuck(void **state)
{
	struct errinfo errinfo = { "" };

	(void)state;
	seen.shut = true;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	fail_once();
	wait_sem(&seen.came);
	fail_once(); /* waits behind it */
	assert_int_equal(log_relay_set(LOG_LEVEL_INFO, NULL, NULL,
				 clock_boot_ns() + NSEC_PER_SEC / 100, &errinfo),
		-ETIMEDOUT);
	assert_non_null(strstr(errinfo.text, "has not returned"));
	sem_post(&seen.door);
	assert_int_equal(
		log_relay_set(LOG_LEVEL_INFO, take, &seen, clock_boot_ns() + LIMIT_NS, NULL), 0);
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	assert_int_equal(seen.lines, 1);
}

/* It may end itself, and call what it likes. */
static void end(void *user, int level, const char *text)
{
	(void)user;
	(void)level;
	(void)text;
	fail_once();
	atomic_fetch_add(&seen.lines, 1);
	seen.inside = rmem_set_log(RMEM_LOG_INFO, NULL, NULL);
	sem_post(&seen.came);
}

static void test_inside(void **state)
{
	(void)state;
	seen.inside = 1;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, end, &seen), 0);
	fail_once();
	wait_sem(&seen.came);
	assert_int_equal(seen.inside, 0);
	fail_once();
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	assert_int_equal(seen.lines, 1);
}

static unsigned relays(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	unsigned n = 0;

	assert_non_null(tasks);
	while ((task = readdir(tasks)) != NULL) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		f = fopen(path, "r");
		if (f && fgets(name, sizeof(name), f))
			n += strcmp(name, "rmem-log\n") == 0;
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return n;
}

static void await_no_relay(void)
{
	const uint64_t limit = clock_boot_ns() + LIMIT_NS;

	while (relays()) {
		assert_true(clock_boot_ns() < limit);
		sched_yield();
	}
}

/* There is a thread as long as there is a function, whoever ends it. */
static void test_thread_ends(void **state)
{
	(void)state;
	await_no_relay();
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(rmem_set_log(RMEM_LOG_INFO, i % 2 ? take : end, &seen), 0);
		if (i % 4 == 0)
			assert_int_equal(relays(), 1);
		fail_once();
		wait_sem(&seen.came);
		if (i % 2)
			assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
		if (i % 4 > 1)
			await_no_relay();
	}
	await_no_relay();
	assert_int_equal(seen.lines, 20);
}

/* No handler of the program's runs in that thread. */
static void check_signals(void *user, int level, const char *text)
{
	sigset_t blocked;

	(void)user;
	(void)level;
	(void)text;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	seen.inside = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1);
}

static void test_signals(void **state)
{
	(void)state;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, check_signals, NULL), 0);
	fail_once();
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	assert_int_equal(seen.inside, 1);
}

/* The child's lines go nowhere, however many they are. */
static void test_child(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, take, &seen), 0);
	pid = fork();
	if (pid == 0) {
		for (unsigned i = 0; i < CALLS; i++)
			(void)rmem_open(NULL, NULL, NULL);
		_exit(rmem_set_log(RMEM_LOG_INFO, take, &seen) == -EPERM ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(rmem_set_log(RMEM_LOG_INFO, NULL, NULL), 0);
	assert_int_equal(seen.lines, 0);
}

#define TEST(f) cmocka_unit_test_setup(f, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lines),
		TEST(test_wrong),
		TEST(test_slow),
		TEST(test_threads),
		TEST(test_stuck),
		TEST(test_inside),
		TEST(test_thread_ends),
		TEST(test_signals),
		TEST(test_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
