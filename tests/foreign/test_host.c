/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that leaves the library little: a full table of files, no thread to be had, stdio that somebody keeps
 * locked, nobody who reads the log, signals. What needs a session is in tests/rxe/test_guests.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/thread.h"
#include "rmem/rmem.h"
#include "tests/support/locked_stdio.h"

#define LIMIT_S 60
#define NOBODY 4711477 /* a user who has no thread at all */
#define FILES_ENOUGH 64

/* Fails, natively for lack of a device; port 1 of this machine is nobody's. */
static int open_nobody(void)
{
	struct rmem *rm;

	return rmem_open("localhost:1", NULL, &rm);
}

/* In a child, because it changes what a process has once. cmocka stays in the parent: 0 is right. */
static int in_child(int (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(LIMIT_S);
		_exit(run());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- a full table of files ---- */

static int lowest_free(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/* With each number of files that are left: that is what is said, until there are enough. */
static void test_full_table(void **state)
{
	struct rlimit before, now;
	int first = lowest_free(), left = -1, rc;
	char is[32];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	do {
		now = before;
		now.rlim_cur = (rlim_t)(first + ++left);
		snprintf(is, sizeof(is), "is %d:", first + left);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
		rc = open_nobody();
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_int_equal(lowest_free(), first);
		if (rc == -EMFILE &&
			(!strstr(rmem_errmsg(), "RLIMIT_NOFILE") || !strstr(rmem_errmsg(), is) ||
				!strstr(rmem_errmsg(), "ulimit -n")))
			fail_msg("%d left: %s", left, rmem_errmsg());
	} while (rc == -EMFILE && left < FILES_ENOUGH);
	print_message("enough: %d files, %s\n", left, rmem_errmsg());
	assert_in_range(left, 3, FILES_ENOUGH - 1);
	/* It is what is said where there are many. */
	assert_int_equal(open_nobody(), rc);
}

/* ---- no thread to be had ---- */

static void *nothing(void *arg)
{
	return arg;
}

static int start_beyond_limit(void)
{
	const struct rlimit one = { 1, 1 };
	struct errinfo errinfo = { "" };
	pthread_t thread;
	int rc;

	/* Root has no limit. */
	if ((getuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY)) || setrlimit(RLIMIT_NPROC, &one))
		return 77;
	rc = thread_start(&thread, "one-too-many", nothing, NULL, &errinfo);
	if (rc == -EAGAIN && strstr(errinfo.text, "cannot start a thread") &&
		strstr(errinfo.text, "RLIMIT_NPROC") && strstr(errinfo.text, " is 1;") &&
		strstr(errinfo.text, "ulimit -u"))
		return 0;
	fprintf(stderr, "%d: %s\n", rc, errinfo.text);
	return 1;
}

static void test_no_thread(void **state)
{
	int status = in_child(start_beyond_limit);

	(void)state;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("this process cannot become another user\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- stdio is locked ---- */

static void *call(void *out)
{
	*(int *)out = open_nobody();
	return NULL;
}

/* The failure is logged meanwhile, in one piece. */
static void test_stdio_locked(void **state)
{
	int fds[2], usual = dup(STDERR_FILENO), rc = 0, late;
	pthread_t locker, caller;
	struct timespec until;
	char line[2048] = "";

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pthread_create(&locker, NULL, lock_stdio, NULL), 0);
	sem_wait(&locked);
	dup2(fds[1], STDERR_FILENO);
	assert_int_equal(pthread_create(&caller, NULL, call, &rc), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT_S;
	late = pthread_timedjoin_np(caller, NULL, &until);
	sem_post(&go_on);
	if (late)
		pthread_join(caller, NULL);
	pthread_join(locker, NULL);
	dup2(usual, STDERR_FILENO);
	close(usual);
	assert_int_equal(late, 0);
	assert_true(rc < 0);
	assert_true(read(fds[0], line, sizeof(line) - 1) > 0);
	assert_ptr_equal(strstr(line, "librmem: rmem_open: "), line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	close(fds[0]);
	close(fds[1]);
}

/* ---- signals ---- */

/* The log's reader is gone: that is the log's trouble, and does not end the program. */
static int log_to_nobody(void)
{
	int fds[2];

	signal(SIGPIPE, SIG_DFL);
	if (pipe(fds) || dup2(fds[1], STDERR_FILENO) < 0)
		return 1;
	close(fds[0]);
	return open_nobody() < 0 ? 0 : 2;
}

/* ... and a signal that the program has waiting for itself still waits. */
static int log_beside_a_signal(void)
{
	const struct timespec at_once = { 0 };
	sigset_t all, now;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGPIPE);
	if (log_to_nobody())
		return 1;
	if (sigprocmask(SIG_SETMASK, NULL, &now) || !sigismember(&now, SIGCHLD))
		return 2;
	return sigtimedwait(&all, NULL, &at_once) == SIGPIPE ? 0 : 3;
}

static void test_nobody_reads_the_log(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_to_nobody), 0);
	assert_int_equal(in_child(log_beside_a_signal), 0);
}

static void *tell_mask(void *out)
{
	pthread_sigmask(SIG_SETMASK, NULL, out);
	return NULL;
}

/* A thread of ours has all signals blocked, whatever its parent has, which keeps what it had. */
static void test_signals_of_our_threads(void **state)
{
	struct errinfo errinfo;
	sigset_t mine, before, after;
	pthread_t thread;

	(void)state;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &mine, &before);
	assert_int_equal(thread_start(&thread, "ours", tell_mask, &after, &errinfo), 0);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, &mine);
	for (int i = 1; i < SIGRTMAX; i++) {
		bool ours = i < 32 || i >= SIGRTMIN; /* the two in between are the C library's */

		assert_int_equal(sigismember(&mine, i), i == SIGUSR1);
		if (ours && i != SIGKILL && i != SIGSTOP)
			assert_int_equal(sigismember(&after, i), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_table),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_stdio_locked),
		cmocka_unit_test(test_nobody_reads_the_log),
		cmocka_unit_test(test_signals_of_our_threads),
	};

	setenv("RMEM_LOG", "info", 1);
	sem_init(&locked, 0, 0);
	sem_init(&go_on, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
