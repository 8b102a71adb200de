/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/sim/moment.h"

#define KEPT 40
#define LINE_SIZE 160

static struct {
	uint64_t seed;
	unsigned steps, step;
	bool verbose;
	char lines[KEPT][LINE_SIZE];
	uint64_t n;
} kept;

uint64_t trace_events;

void trace_begin(uint64_t seed, unsigned steps, bool verbose)
{
	kept.seed = seed;
	kept.steps = steps;
	kept.step = 0;
	kept.verbose = verbose;
	kept.n = 0;
}

void trace_step(unsigned step)
{
	kept.step = step;
}

void trace(const char *fmt, ...)
{
	char *line = kept.lines[kept.n++ % KEPT];
	va_list ap;
	int n;

	trace_events++;
	n = snprintf(line, LINE_SIZE, "%5u %10.3f ms  ", kept.step, (double)moment_ns() / 1e6);
	va_start(ap, fmt);
	vsnprintf(line + n, LINE_SIZE - (size_t)n, fmt, ap);
	va_end(ap);
	if (kept.verbose)
		puts(line);
}

void trace_fail(const char *fmt, ...)
{
	uint64_t first = kept.n > KEPT ? kept.n - KEPT : 0;
	va_list ap;

	if (!kept.verbose) {
		for (; first < kept.n; first++)
			puts(kept.lines[first % KEPT]);
	}
	printf("FAILED: seed %" PRIu64 ", step %u: ", kept.seed, kept.step);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nagain: test_sim --seed %" PRIu64 " --steps %u --verbose\n", kept.seed,
		kept.steps);
	fflush(stdout);
	_exit(1);
}
