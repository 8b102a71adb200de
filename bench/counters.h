/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What operations cost beside time: system calls and context switches of the calling thread, and
 * processor time of a daemon that should have nothing to do.
 *
 * System calls are counted by the kernel's tracepoint raw_syscalls:sys_enter, opened as a counter:
 * little is slowed down, compared with a tracer. It needs root and tracefs; without them the
 * number is negative: unknown. It is also unknown unless RMEM_BENCH_COUNT is set.
 */
#ifndef BENCH_COUNTERS_H
#define BENCH_COUNTERS_H

struct counters {
	int fd; /* of the tracepoint, -1: none */
	double system_calls;
	double switches;
};

/* Begin to count for the calling thread, and stop. */
void counters_begin(struct counters *c);
void counters_end(struct counters *c);

/* Microseconds on a processor so far of the process $RMEM_BENCH_DAEMON; negative: unknown. */
double daemon_cpu_us(void);

#endif
