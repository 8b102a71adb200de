/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for descriptors when the kernel does not let us see whether they are readable: poll(2) refuses more of them
 * than RLIMIT_NOFILE allows, which a program may lower when it has opened all that it needs. No wait fails then,
 * none takes a processor, and each ends when it should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/handshake.h"

#define LIMIT_NS (60 * NSEC_PER_SEC)
#define WAIT_NS (200 * NSEC_PER_MSEC)
#define CPU_NS (50 * NSEC_PER_MSEC) /* of it, at most */
#define HIGH 1500                   /* more than select(2) can look at */

static struct rlimit usual;
static int event = -1, other = -1, cancel = -1;

static int set_up(void **state)
{
	(void)state;
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return event < 0 || other < 0 || cancel < 0 || getrlimit(RLIMIT_NOFILE, &usual);
}

static int tear_down(void **state)
{
	(void)state;
	(void)setrlimit(RLIMIT_NOFILE, &usual);
	close(event);
	close(other);
	close(cancel);
	return 0;
}

static void allow(rlim_t descriptors)
{
	const struct rlimit lowered = { descriptors, usual.rlim_max };

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);
}

/* As callers do: 0 may mean that it is time to look. Nothing comes, so it ends at the deadline, and cheaply. */
static void wait_in_vain(int fd, int fd2, int cancel_fd)
{
	uint64_t cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	uint64_t deadline_ns = clock_boot_ns() + WAIT_NS;
	int rc;

	do
		rc = handshake_wait(fd, fd2, cancel_fd, deadline_ns);
	while (rc == 0);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(clock_boot_ns() >= deadline_ns);
	assert_true(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns < CPU_NS);
}

static void *make_readable(void *fd)
{
	(void)eventfd_write(*(int *)fd, 1);
	return NULL;
}

/* It becomes readable, before the wait or in it: that ends the wait. */
static void is_woken_by(int *fd, int expected)
{
	uint64_t until_ns = clock_boot_ns() + LIMIT_NS;
	pthread_t thread;
	eventfd_t value;

	assert_int_equal(pthread_create(&thread, NULL, make_readable, fd), 0);
	assert_int_equal(handshake_wait(event, other, cancel, until_ns), expected);
	pthread_join(thread, NULL);
	assert_int_equal(eventfd_read(*fd, &value), 0);
}

static void wait_in_all_ways(void)
{
	wait_in_vain(event, other, cancel);
	wait_in_vain(event, -1, cancel);
	wait_in_vain(-1, -1, cancel);
	is_woken_by(&event, 0);
	is_woken_by(&other, 0);
	is_woken_by(&cancel, -ECANCELED);
}

static void test_as_usual(void **state)
{
	(void)state;
	wait_in_all_ways();
}

static void test_lowered_limit(void **state)
{
	(void)state;
	for (rlim_t n = 0; n < 3; n++) {
		allow(n);
		wait_in_all_ways();
	}
}

/* Neither way to look works: there is time to look at nothing but the clock. */
static void test_high_numbers(void **state)
{
	int high, high_cancel;

	(void)state;
	allow(usual.rlim_max);
	high = fcntl(event, F_DUPFD_CLOEXEC, HIGH);
	high_cancel = fcntl(cancel, F_DUPFD_CLOEXEC, HIGH);
	if (high < 0 || high_cancel < 0) {
		close(high);
		skip();
	}
	wait_in_vain(high, -1, high_cancel);
	allow(0);
	wait_in_vain(high, -1, high_cancel);
	wait_in_vain(-1, -1, high_cancel);
	close(high);
	close(high_cancel);
}

/* The program has closed them under us. */
static void test_closed(void **state)
{
	int gone = dup(event);

	(void)state;
	close(gone);
	for (int i = 0; i < 2; i++) {
		wait_in_vain(gone, -1, cancel);
		wait_in_vain(event, -1, gone);
		wait_in_vain(-1, -1, gone);
		allow(0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_as_usual, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lowered_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_high_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
