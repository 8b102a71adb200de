/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum log_level log_threshold = LOG_LEVEL_OFF;

static const char *log_prefix = "rmem";
static bool log_to_journal;

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

void log_init(const char *prefix, enum log_level threshold)
{
	log_prefix = prefix;
	/* Once: other threads of the program may change the environment later. */
	log_to_journal = secure_getenv("JOURNAL_STREAM") != NULL;
	log_threshold = threshold;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	/* syslog(3) priorities, which journald reads from "<N>" at the start of a line */
	static const int priority[] = { 6, 3, 4, 6, 7 };
	int saved_errno = errno;
	char line[1024];
	size_t n = 0;
	va_list ap;

	if (log_to_journal && !isatty(STDERR_FILENO))
		n = (size_t)snprintf(line, sizeof(line), "<%d>", priority[level]);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%s: %s%s", log_prefix,
		level == LOG_LEVEL_INFO ? "" : level_names[level],
		level == LOG_LEVEL_INFO ? "" : ": ");
	va_start(ap, fmt);
	n += (size_t)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	/* Names come from peers: they must not forge lines, or write to the terminal what they like. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0) {
		/* nobody left to tell */
	}
	errno = saved_errno;
}
