/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that only records, once per period, that this process runs (struct pulse, server/lease/lease.h). The event
 * loop, when late, thus learns whether it was busy or the process did not run.
 */
#ifndef RMEM_SERVER_LEASE_HEART_H
#define RMEM_SERVER_LEASE_HEART_H

#include <stdint.h>

struct heart;

/* ERRORS: -ENOMEM, or errno of pthread_create(3). */
int heart_start(struct heart **out, uint64_t period_ns);
void heart_stop(struct heart *h); /* NULL is fine */

/* pulse_ran() of this process. Any thread. */
uint64_t heart_ran_ns(struct heart *h, uint64_t now_ns);

#endif
