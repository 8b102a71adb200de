/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/moment.h"

#include <time.h>

#define BEGINNING_NS 1000000000000ULL
#define WALL_LESS_BOOT_NS 1700000000000000000ULL

static uint64_t now_ns, ran_ns;

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

void moment_begin(void)
{
	now_ns = BEGINNING_NS;
	ran_ns = 0;
}

uint64_t moment_ns(void)
{
	return now_ns;
}

uint64_t moment_ran_ns(void)
{
	return ran_ns;
}

void moment_pass(uint64_t ns)
{
	now_ns += ns;
	ran_ns += ns;
}

void moment_lose(uint64_t ns)
{
	now_ns += ns;
}

uint64_t moment_real_ns(void)
{
	struct timespec ts;

	__real_clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
	const uint64_t ns = id == CLOCK_REALTIME ? now_ns + WALL_LESS_BOOT_NS : now_ns;

	out->tv_sec = (time_t)(ns / 1000000000ULL);
	out->tv_nsec = (long)(ns % 1000000000ULL);
	return 0;
}
