/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/counters.h"

#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static long tracepoint_id(void)
{
	FILE *f = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "re");
	long id = -1;

	if (f) {
		if (fscanf(f, "%ld", &id) != 1)
			id = -1;
		fclose(f);
	}
	return id;
}

static int open_tracepoint(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	long id = tracepoint_id();

	if (id < 0)
		return -1;
	attr.config = (uint64_t)id;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double switches_now(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (double)(usage.ru_nvcsw + usage.ru_nivcsw);
}

static double calls_now(int fd)
{
	uint64_t count;

	return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count) ? (double)count : -1;
}

/*
 * Only on request, since counting slows down what is counted. Opened once and kept: switching a tracepoint on or off rewrites code that other processors execute, and
 * emulated ones have been seen to trip over that (the kernel dies of a breakpoint in the scheduler).
 */
static int tracepoint(void)
{
	static _Thread_local int fd = -2;

	if (fd == -2)
		fd = getenv("RMEM_BENCH_COUNT") ? open_tracepoint() : -1;
	return fd;
}

void counters_begin(struct counters *c)
{
	c->fd = tracepoint();
	c->switches = switches_now();
	c->system_calls = calls_now(c->fd);
}

void counters_end(struct counters *c)
{
	double now = calls_now(c->fd);

	/* The read that ends is counted; the one that began is not: it saw itself. */
	c->system_calls = now < 0 ? -1 : now - c->system_calls - 1;
	c->switches = switches_now() - c->switches;
}

double daemon_cpu_us(void)
{
	const char *pid = getenv("RMEM_BENCH_DAEMON");
	char path[64];
	double ns = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/schedstat", pid ? pid : "none");
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%lf", &ns) != 1)
		ns = -1;
	fclose(f);
	return ns < 0 ? -1 : ns / 1e3;
}
