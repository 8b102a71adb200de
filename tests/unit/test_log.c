/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrives on stderr. It is replaced by a pipe in packet mode, so that one read(2) returns what
 * one write(2) wrote: lines that were made of several writes would be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/log.h"

static int saved_stderr;
static int pipe_fd[2];

static int redirect(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	saved_stderr = dup(STDERR_FILENO);
	if (saved_stderr < 0 || pipe2(pipe_fd, O_DIRECT | O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	return dup2(pipe_fd[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int restore(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	log_init("rmem", LOG_LEVEL_OFF);
	return 0;
}

/* What one write(2) brought; "" if there was none. */
static const char *next_line(void)
{
	static char line[4096];
	ssize_t n = read(pipe_fd[0], line, sizeof(line) - 1);

	line[n > 0 ? n : 0] = '\0';
	return line;
}

static void silent_until_asked(void **state)
{
	(void)state;
	log_error("nobody asked");
	assert_string_equal(next_line(), "");
}

static void peers_forge_no_lines(void **state)
{
	(void)state;
	log_init("test", LOG_LEVEL_INFO);
	log_info("session of %s", "x\n<0>rmemd: \033[31mall is lost\x7f\t.");
	assert_string_equal(next_line(), "test: session of x?<0>rmemd: ?[31mall is lost??.\n");
	log_info("caf\xc3\xa9");
	assert_string_equal(next_line(), "test: caf\xc3\xa9\n");
}

static void threshold_decides(void **state)
{
	(void)state;
	for (int threshold = LOG_LEVEL_OFF; threshold <= LOG_LEVEL_DEBUG; threshold++) {
		log_init("test", (enum log_level)threshold);
		log_error("e%d", 1);
		log_warn("w%d", 2);
		log_info("i%d", 3);
		log_debug("d%d", 4);
		if (threshold >= LOG_LEVEL_ERROR)
			assert_string_equal(next_line(), "test: error: e1\n");
		if (threshold >= LOG_LEVEL_WARN)
			assert_string_equal(next_line(), "test: warn: w2\n");
		if (threshold >= LOG_LEVEL_INFO)
			assert_string_equal(next_line(), "test: i3\n");
		if (threshold >= LOG_LEVEL_DEBUG)
			assert_string_equal(next_line(), "test: debug: d4\n");
		assert_string_equal(next_line(), "");
	}
}

static void journald_gets_its_priorities(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_init("test", LOG_LEVEL_DEBUG);
	unsetenv("JOURNAL_STREAM"); /* it was looked at once */
	log_error("x");
	assert_string_equal(next_line(), "<3>test: error: x\n");
	log_warn("x");
	assert_string_equal(next_line(), "<4>test: warn: x\n");
	log_info("x");
	assert_string_equal(next_line(), "<6>test: x\n");
	log_debug("x");
	assert_string_equal(next_line(), "<7>test: debug: x\n");
}

static void long_lines_are_cut_and_still_end(void **state)
{
	char text[3000];
	const char *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("test", LOG_LEVEL_INFO);
	for (size_t n = 900; n < sizeof(text) - 1; n++) {
		log_info("%.*s", (int)n, text);
		line = next_line();
		assert_in_range(strlen(line), 900, 1024);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_string_equal(next_line(), "");
	}
}

static void errno_survives(void **state)
{
	(void)state;
	log_init("test", LOG_LEVEL_INFO);
	close(STDERR_FILENO);
	errno = ERANGE;
	log_error("into the void");
	assert_int_equal(errno, ERANGE);
}

static void levels_by_name(void **state)
{
	static const struct {
		const char *text;
		int ret;
		enum log_level level;
	} cases[] = {
		{ "off", 0, LOG_LEVEL_OFF },
		{ "error", 0, LOG_LEVEL_ERROR },
		{ "warn", 0, LOG_LEVEL_WARN },
		{ "info", 0, LOG_LEVEL_INFO },
		{ "debug", 0, LOG_LEVEL_DEBUG },
		{ "", -EINVAL, LOG_LEVEL_WARN },
		{ "Info", -EINVAL, LOG_LEVEL_WARN },
		{ "infos", -EINVAL, LOG_LEVEL_WARN },
		{ "3", -EINVAL, LOG_LEVEL_WARN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum log_level level = LOG_LEVEL_WARN; /* what a failure must leave alone */

		assert_int_equal(log_parse_level(cases[i].text, &level), cases[i].ret);
		assert_int_equal(level, cases[i].level);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(silent_until_asked, redirect, restore),
		cmocka_unit_test_setup_teardown(peers_forge_no_lines, redirect, restore),
		cmocka_unit_test_setup_teardown(threshold_decides, redirect, restore),
		cmocka_unit_test_setup_teardown(journald_gets_its_priorities, redirect, restore),
		cmocka_unit_test_setup_teardown(
			long_lines_are_cut_and_still_end, redirect, restore),
		cmocka_unit_test_setup_teardown(errno_survives, redirect, restore),
		cmocka_unit_test(levels_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
