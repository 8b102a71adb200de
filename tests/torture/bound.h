/* SPDX-License-Identifier: BSD-3-Clause */
/* How long calls may take, in ms, as docs/THREADS.md ("Every public call") says it. Change it there first. */
#ifndef RMEM_TESTS_TORTURE_BOUND_H
#define RMEM_TESTS_TORTURE_BOUND_H

#include "tests/torture/client.h"

#define BOUND_STILL_MS 10000 /* no byte moves on a connection: it is given up */
#define BOUND_COME_BACK_MIN_MS 1000
#define BOUND_REGISTER_MS 10000 /* no limit; what is registered here is small */

/* What goes over the control connection, opening and closing too. */
static inline int bound_control(void)
{
	return me.timeout_ms;
}

/* A connection is made, or made again. */
static inline int bound_come_back(void)
{
	return me.timeout_ms > BOUND_COME_BACK_MIN_MS ? me.timeout_ms : BOUND_COME_BACK_MIN_MS;
}

/* A copy or an atomic operation: a key, and two connections on which nothing moves. */
static inline int bound_copy(void)
{
	return me.timeout_ms + 2 * (BOUND_STILL_MS + bound_come_back());
}

/* The first touch of an allocation on a queue waits for all that is on its way there. */
static inline int bound_start(void)
{
	return bound_copy();
}

static inline int bound_reap(int timeout_ms)
{
	return timeout_ms + bound_come_back();
}

#endif
