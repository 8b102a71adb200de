/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's sign: from open to close, in this process only, and no file of somebody else's is closed for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/base/mark.h"
#include "common/presence.h"

static enum presence look(const struct mark *m)
{
	return presence_look(m->number, m->place);
}

static void test_open_to_close(void **state)
{
	struct mark marks[3], before[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		mark_show(&marks[i]);
	memcpy(before, marks, sizeof(before));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(look(&marks[i]), PRESENCE_THERE);
	mark_remove(&marks[1]);
	assert_int_equal(look(&before[1]), PRESENCE_GONE);
	assert_int_equal(look(&before[0]), PRESENCE_THERE);
	assert_int_equal(look(&before[2]), PRESENCE_THERE);
	mark_remove(&marks[1]);
	mark_remove(&marks[2]);
	mark_remove(&marks[0]);
	assert_int_equal(look(&before[0]), PRESENCE_GONE);
	assert_int_equal(look(&before[2]), PRESENCE_GONE);
}

/* A child that lives on does not keep the parent's sign, and the parent's stays when the child goes. */
static void test_fork(void **state)
{
	struct mark mark, before;
	int ready[2], status;
	pid_t child;
	char byte;

	(void)state;
	mark_show(&mark);
	before = mark;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		marks_forked();
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(look(&mark), PRESENCE_THERE);
	mark_remove(&mark);
	assert_int_equal(look(&before), PRESENCE_GONE);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ready[0]);
	close(ready[1]);
}

/* A program that closes every descriptor, and has another file under that number by now. */
static void test_closed_by_others(void **state)
{
	struct mark mark;
	int fd;

	(void)state;
	mark_show(&mark);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(dup2(fd, mark.fd), mark.fd);
	close(fd);
	fd = mark.fd;
	mark_remove(&mark);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

/* No descriptor is left for it. */
static void test_none(void **state)
{
	struct mark mark, never = { .fd = 0 };
	int fds[1024], n = 0;

	(void)state;
	while (n < 1024 && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		n++;
	mark_show(&mark);
	while (n > 0)
		close(fds[--n]);
	mark_remove(&mark);
	mark_remove(&never);
	assert_true(fcntl(0, F_GETFD) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_to_close),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_closed_by_others),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
