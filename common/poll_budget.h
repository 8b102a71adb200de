/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a wait for the device may poll before it sleeps. Pure: the caller brings the time.
 *
 * Most waits end before the caller looks at the clock, and are not told here. Others are polled,
 *
 *   - where they are typically short (a running median), for a millisecond: a sleeper would be awake too late. This is
 *     free, whatever else the thread does;
 *   - beyond that, if the thread waits for one thing alone and is busy otherwise. A device that is emulated, or shares
 *     processors with others, stands still at times, and to sleep then costs as much again. This is paid from a
 *     credit. Where more is under way, on such a machine, a thread that sleeps makes room for it.
 *
 * The credit is the time that the thread has spent outside of such waits (in proportion less, where they are mostly
 * longer than a millisecond) and a sixteenth of the time slept. So polling that is not free never takes more than
 * half of a processor; of a thread that only waits, and for long, a sixteenth; and in one wait no more than
 * POLL_BUDGET_WAIT_NS.
 *
 * One thread at a time. Each wait is poll_budget_begin(), then poll_budget_end().
 */
#ifndef RMEM_COMMON_POLL_BUDGET_H
#define RMEM_COMMON_POLL_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define POLL_BUDGET_WAIT_NS 20000000ULL /* credit for one wait: some time slices of a scheduler */

struct poll_budget {
	uint64_t typical_ns; /* half of the waits that are told here take longer */
	uint64_t credit_ns;
	uint64_t since_ns; /* the last wait began, or ended, then */
	uint64_t limit_ns; /* of the wait that has begun */
};

void poll_budget_init(struct poll_budget *b, uint64_t now_ns);

/* A wait is not over at once: poll for so long, from now on. alone: nothing but what it is for is under way. */
uint64_t poll_budget_begin(struct poll_budget *b, uint64_t now_ns, bool alone);

/* It is over, polling or asleep; or, if nothing came, given up. */
void poll_budget_end(struct poll_budget *b, uint64_t now_ns, bool came);

#endif
