/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's and the tools' log: one line per event on stderr, with the priority prefix that
 * journald understands when stderr is not a terminal. The library logs through it only when
 * $RMEM_LOG asks for it, or the program (rmem_set_log()). Any thread; one write(2) per line, so that lines never mix.
 *
 * Nobody waits for the reader of the log: what there is no room for is dropped and counted, and a later line
 * says how many there were. If there is no reader any more, that raises no SIGPIPE.
 */
#ifndef RMEM_COMMON_LOG_H
#define RMEM_COMMON_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_OFF, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Of whatever listens to most; LOG_LEVEL_OFF until somebody sets it. */
extern _Atomic enum log_level log_threshold;

/* "off", "error", "warn", "info", "debug". 0 or -EINVAL. */
int log_parse_level(const char *text, enum log_level *out);

const char *log_level_name(enum log_level level);

/* From now on; any thread. */
void log_set_threshold(enum log_level threshold);

/* prefix names the program in each line; must outlive all logging. */
void log_init(const char *prefix, enum log_level threshold);

/*
 * Another one who listens, beside stderr: gets the lines up to that level, without prefix and newline. It is called
 * in the thread that logs, whatever locks that has: it may only take a copy. Once set it stays; LOG_LEVEL_OFF: it is not
 * called.
 */
typedef void log_tap(enum log_level level, const char *text);
void log_set_tap(enum log_level threshold, log_tap *tap);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Say how many lines were lost, if any were. False: there is still no room. From time to time, in a daemon. */
bool log_catch_up(void);

#define log_at(level, ...) \
	do { \
		if ((level) <= log_threshold) \
			log_line(level, __VA_ARGS__); \
	} while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
