/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/outlet.h"

#define LINE_SIZE 1024

_Atomic enum log_level log_threshold = LOG_LEVEL_OFF;

static const char *log_prefix = "rmem";
static bool log_to_journal;

static _Atomic enum log_level stderr_threshold = LOG_LEVEL_OFF, tap_threshold = LOG_LEVEL_OFF;
static _Atomic(log_tap *) tap;

static atomic_uint lost;      /* lines, since a line last got through */
static atomic_bool cut_short; /* what was written last has no end */

static const char *const level_names[] = { "off", "error", "warn", "info", "debug" };

int log_parse_level(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

/* Two threads may change one each: the later one sees both. */
static void set_threshold(void)
{
	enum log_level a, b;

	do {
		a = stderr_threshold;
		b = tap_threshold;
		log_threshold = a > b ? a : b;
	} while (a != stderr_threshold || b != tap_threshold);
}

void log_set_tap(enum log_level threshold, log_tap *fn)
{
	tap = fn;
	tap_threshold = threshold;
	set_threshold();
}

void log_set_threshold(enum log_level threshold)
{
	stderr_threshold = threshold;
	set_threshold();
}

void log_init(const char *prefix, enum log_level threshold)
{
	log_prefix = prefix;
	/* Once: other threads of the program may change the environment later. */
	log_to_journal = secure_getenv("JOURNAL_STREAM") != NULL;
	stderr_threshold = threshold;
	set_threshold();
}

/* A prefix, and the line's own text: how many bytes of at most size. */
static size_t begin_line(char *line, size_t size, enum log_level level)
{
	/* syslog(3) priorities, which journald reads from "<N>" at the start of a line */
	static const int priority[] = { 6, 3, 4, 6, 7 };
	size_t n = 0;

	if (log_to_journal && !isatty(STDERR_FILENO))
		n = (size_t)snprintf(line, size, "<%d>", priority[level]);
	n += (size_t)snprintf(line + n, size - n, "%s: %s%s", log_prefix,
		level == LOG_LEVEL_INFO ? "" : level_names[level],
		level == LOG_LEVEL_INFO ? "" : ": ");
	return n;
}

/* To a pipe that nobody reads: the SIGPIPE that comes of it would end a program that uses the library. */
static ssize_t write_unpunished(const char *bytes, size_t size)
{
	const struct timespec at_once = { 0 };
	sigset_t sigpipe, usual, pending;
	ssize_t n;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &usual);
	sigpending(&pending);
	n = outlet_write(STDERR_FILENO, bytes, size);
	/* One that waits already is the program's. */
	if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&sigpipe, NULL, &at_once) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &usual, NULL);
	return n;
}

/* False: there is no room for it. If nobody is there to read it, nothing is lost. */
static bool put(const char *line, size_t n)
{
	char whole[LINE_SIZE + 1];
	size_t size = 0;
	ssize_t written;

	if (atomic_load(&cut_short))
		whole[size++] = '\n';
	memcpy(whole + size, line, n);
	size += n;
	written = write_unpunished(whole, size);
	if (written < 0)
		return written != -EAGAIN;
	atomic_store(&cut_short, (size_t)written < size && whole[written - (written > 0)] != '\n');
	return (size_t)written == size;
}

bool log_catch_up(void)
{
	/* Taken, so that two threads never report, and count back, the same lines. */
	unsigned missing = atomic_exchange(&lost, 0);
	char line[LINE_SIZE];
	size_t n;

	if (!missing)
		return true;
	n = begin_line(line, sizeof(line), LOG_LEVEL_WARN);
	n += (size_t)snprintf(line + n, sizeof(line) - n,
		"%u line%s lost here: the reader of this log was slow\n", missing,
		missing == 1 ? "" : "s");
	if (put(line, n))
		return true;
	atomic_fetch_add(&lost, missing);
	return false;
}

/* To stderr; there is room for the end of the line. */
static void put_line(char *line, size_t n)
{
	line[n++] = '\n';
	if (!log_catch_up() || !put(line, n))
		atomic_fetch_add(&lost, 1);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[LINE_SIZE];
	size_t begin = begin_line(line, sizeof(line), level), n = begin;
	va_list ap;

	va_start(ap, fmt);
	n += (size_t)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	/* Names come from peers: they must not forge lines, or write to the terminal what they like. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n] = '\0';
	if (level <= tap_threshold)
		tap(level, line + begin);
	if (level <= stderr_threshold)
		put_line(line, n);
	errno = saved_errno;
}
