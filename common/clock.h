/* SPDX-License-Identifier: BSD-3-Clause */
/* The two clocks we use, in nanoseconds. Leases run on boot time, which counts suspended time too. */
#ifndef RMEM_COMMON_CLOCK_H
#define RMEM_COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL

static inline uint64_t clock_read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* For durations and deadlines. Never goes back, never comes from a peer. */
static inline uint64_t clock_boot_ns(void)
{
	return clock_read_ns(CLOCK_BOOTTIME);
}

/*
 * Only for what people read. It is set, forward and back, and says nothing about how long anything took:
 * durations that outlive a process are in server time (server/ledger/timeline.h).
 */
static inline uint64_t clock_real_ns(void)
{
	return clock_read_ns(CLOCK_REALTIME);
}

#endif
