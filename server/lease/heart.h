/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that does nothing but say, once per period, that this process runs (server/lease/lease.h): the event loop may
 * be busy for longer than that, and has to know afterwards whether it was busy or did not run.
 */
#ifndef RMEM_SERVER_LEASE_HEART_H
#define RMEM_SERVER_LEASE_HEART_H

#include <stdint.h>

struct heart;

/* ERRORS: -ENOMEM, or errno of pthread_create(3). */
int heart_start(struct heart **out, uint64_t period_ns);
void heart_stop(struct heart *h); /* NULL is fine */

/* For how long the process has run; any thread. */
uint64_t heart_ran_ns(struct heart *h, uint64_t now_ns);

#endif
