/* SPDX-License-Identifier: BSD-3-Clause */
/* What has happened, for whoever looks at a seed that fails: the last events, and the end of the program. */
#ifndef RMEM_SIM_TRACE_H
#define RMEM_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>

void trace_begin(uint64_t seed, unsigned steps, bool verbose);

/* The step that follows; *trace_events counts all that was written down. */
void trace_step(unsigned step);
extern uint64_t trace_events;

void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The seed has failed: says why, and the last events. Does not return. Fine in a signal handler, more or less. */
void trace_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#define trace_require(condition, ...) \
	do { \
		if (!(condition)) \
			trace_fail(__VA_ARGS__); \
	} while (0)

#endif
