/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said of a long start, on a terminal and elsewhere, and that a stop signal ends it. */
#include "tests/support/dir.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "common/units.h"
#include "server/memory/progress.h"

#define SECOND_NS 1000000000ULL

static uint64_t now_ns = 1000 * SECOND_NS;

int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
	(void)id;
	out->tv_sec = (time_t)(now_ns / SECOND_NS);
	out->tv_nsec = (long)(now_ns % SECOND_NS);
	return 0;
}

#define END "$" /* in nothing that is written */

/* All that stands on stderr after n calls, a second and 100 MiB apart. */
static void run(int to, int from, unsigned n, char *out, size_t size)
{
	int saved = dup(STDERR_FILENO);
	struct progress p;
	size_t got = 0;

	assert_true(dup2(to, STDERR_FILENO) >= 0);
	progress_begin(&p, "made ready", 4000 * MIB);
	for (unsigned i = 0; i < n; i++) {
		now_ns += SECOND_NS;
		assert_true(progress_add(&p, 100 * MIB));
		progress_watch(&p);
	}
	progress_end(&p);
	dup2(saved, STDERR_FILENO);
	close(saved);
	/* A terminal may hand it over in parts. */
	assert_int_equal(write(to, END, 1), 1);
	do {
		const ssize_t part = read(from, out + got, size - 1 - got);

		assert_true(part > 0);
		got += (size_t)part;
	} while (out[got - 1] != *END);
	out[got - 1] = '\0';
}

static void test_in_a_log(void **state)
{
	char text[4096];
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	run(ends[1], ends[0], 9, text, sizeof(text));
	assert_string_equal(text, "");
	run(ends[1], ends[0], 25, text, sizeof(text));
	assert_string_equal(text,
		"rmemd: 1000.0 MiB of 3.9 GiB of memory made ready, about 30s left\n"
		"rmemd: 2.0 GiB of 3.9 GiB of memory made ready, about 20s left\n");
	log_set_threshold(LOG_LEVEL_WARN);
	run(ends[1], ends[0], 25, text, sizeof(text));
	assert_string_equal(text, "");
	log_set_threshold(LOG_LEVEL_INFO);
	close(ends[0]);
	close(ends[1]);
}

static void test_on_a_terminal(void **state)
{
	char text[4096];
	int master, slave;

	(void)state;
	if (openpty(&master, &slave, NULL, NULL, NULL) != 0)
		skip();
	run(slave, master, 2, text, sizeof(text));
	assert_string_equal(text,
		"\r100.0 MiB of 3.9 GiB of memory made ready, about 39s left\033[K"
		"\r200.0 MiB of 3.9 GiB of memory made ready, about 38s left\033[K"
		"\r\033[K");
	close(master);
	close(slave);
}

static void test_stop_signal(void **state)
{
	static const struct timespec at_once;
	struct progress p;
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	progress_begin(&p, "wiped", MIB);
	assert_true(progress_add(&p, 1));
	raise(SIGTERM);
	progress_watch(&p);
	assert_false(progress_add(&p, 1));
	progress_begin(&p, "wiped", MIB);
	assert_false(progress_add(&p, 1));
	sigtimedwait(&set, NULL, &at_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_a_log),
		cmocka_unit_test(test_on_a_terminal),
		cmocka_unit_test(test_stop_signal),
	};

	log_init("rmemd", LOG_LEVEL_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
