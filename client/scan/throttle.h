/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast a scan may go: bytes per second, and a share of one processor. Work is charged after it was done; what it
 * took beyond the budget is waited for. Time that was not used does not add up beyond a burst, so a scan that stood
 * still does not race afterwards. Pure: time is an argument. One thread.
 */
#ifndef RMEM_CLIENT_SCAN_THROTTLE_H
#define RMEM_CLIENT_SCAN_THROTTLE_H

#include <stdint.h>

#define THROTTLE_BURST_NS 20000000ULL

struct throttle {
	uint64_t bytes_per_s; /* 0: any */
	unsigned cpu_percent; /* of one processor; 0 or 100: any */
	uint64_t due_ns;      /* what was charged so far is paid for then */
};

/* Charge bytes that were read and processor time that was used. Returns how long to wait from now on. */
uint64_t throttle_charge(struct throttle *t, uint64_t bytes, uint64_t cpu_ns, uint64_t now_ns);

#endif
