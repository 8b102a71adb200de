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
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/log.h"
#include "common/outlet.h"

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

/* A stderr like that of a shell: others share it, and it waits for room. */
static void block_stderr(int fds[2])
{
	fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) & ~O_NONBLOCK);
	if (fds)
		assert_true(dup2(fds[1], STDERR_FILENO) == STDERR_FILENO);
	alarm(20); /* who waits for the reader is killed: nobody reads */
}

/* Everything that has come, line by line: the numbers of the lines "line N" ascend, what is missing was counted. */
static unsigned read_all(int fd, unsigned *out_lost)
{
	static char text[1 << 20];
	unsigned lines = 0, number, last = 0;
	size_t size = 0;
	ssize_t n;

	*out_lost = 0;
	while (size < sizeof(text) - 1 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += (size_t)n;
	text[size] = '\0';
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) && rest;) {
		if (sscanf(line, "test: line %u", &number) == 1 && strchr(line, '.')) {
			assert_true(number > last);
			last = number;
			lines++;
		} else if (sscanf(line, "test: warn: %u line", &number) == 1) {
			assert_non_null(strstr(line, "the reader of this log was slow"));
			*out_lost += number;
		}
	}
	return lines;
}

/* 5000 lines that nobody reads, then one reader: each line has come or is counted. */
static void fill_and_read(int reader)
{
	unsigned got, more, lost, later;
	const int flags = fcntl(STDERR_FILENO, F_GETFL);

	log_init("test", LOG_LEVEL_INFO);
	for (unsigned i = 1; i <= 5000; i++)
		log_info("line %u of many, and some more text so that it takes room.", i);
	alarm(0);
	/* Others who share it see nothing of how we write. */
	assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), flags);
	/* A terminal makes room by itself, now and then. */
	got = read_all(reader, &lost);
	assert_in_range(got, 1, 4999);
	assert_true(log_catch_up());
	log_info("line %u.", 5001);
	more = read_all(reader, &later);
	assert_int_equal(more, 1);
	assert_int_equal(got + lost + later, 5000);
}

static void nobody_waits_for_a_slow_reader_of_a_pipe(void **state)
{
	(void)state;
	block_stderr(NULL);
	fill_and_read(pipe_fd[0]);
}

/* A named pipe cannot be written to without waiting: it is opened once more. */
static void nor_of_a_named_pipe(void **state)
{
	char path[] = "/tmp/rmem-log-XXXXXX";
	int fds[2];

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(chdir(path), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	fds[0] = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	fds[1] = open("fifo", O_WRONLY | O_CLOEXEC);
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	unlink("fifo");
	assert_int_equal(chdir("/"), 0);
	rmdir(path);
	block_stderr(fds);
	fill_and_read(fds[0]);
	close(fds[0]);
	close(fds[1]);
}

static void nor_of_a_socket(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	block_stderr(fds);
	fill_and_read(fds[0]);
	close(fds[0]);
	close(fds[1]);
}

static void nor_of_a_terminal(void **state)
{
	struct termios raw;
	int fds[2];

	(void)state;
	if (openpty(&fds[0], &fds[1], NULL, NULL, NULL))
		skip();
	tcgetattr(fds[1], &raw);
	cfmakeraw(&raw);
	tcsetattr(fds[1], TCSANOW, &raw);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	block_stderr(fds);
	fill_and_read(fds[0]);
	close(fds[0]);
	close(fds[1]);
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

/* A program that was started without them: its own files are not stderr, and stay as they are. */
static void nothing_is_written_into_files(void **state)
{
	char path[] = "/tmp/rmem-test-log.XXXXXX";
	int status, file = mkstemp(path);
	struct stat st;
	pid_t child;

	(void)state;
	assert_true(file >= 0);
	close(file);
	child = fork();
	if (child == 0) {
		for (int fd = 0; fd <= STDERR_FILENO; fd++)
			close(fd);
		outlet_reserve();
		for (int fd = 0; fd <= STDERR_FILENO; fd++)
			(void)!open(path, O_RDWR | O_CLOEXEC);
		log_init("test", LOG_LEVEL_INFO);
		log_info("not into a file");
		_exit(fcntl(STDERR_FILENO, F_GETFD) < 0 || write(STDOUT_FILENO, "", 1) >= 0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	unlink(path);
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
		cmocka_unit_test_setup_teardown(
			nobody_waits_for_a_slow_reader_of_a_pipe, redirect, restore),
		cmocka_unit_test_setup_teardown(nor_of_a_named_pipe, redirect, restore),
		cmocka_unit_test_setup_teardown(nor_of_a_socket, redirect, restore),
		cmocka_unit_test_setup_teardown(nor_of_a_terminal, redirect, restore),
		cmocka_unit_test_setup_teardown(errno_survives, redirect, restore),
		cmocka_unit_test(nothing_is_written_into_files),
		cmocka_unit_test(levels_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
