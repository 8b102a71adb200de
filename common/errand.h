/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A background job that may take as long as it likes (a name server that is silent, debug information of a
 * gigabyte). It has a thread of its own; its caller waits for as long as there is time, and may then leave it. A job
 * that was left ends by itself, and is destroyed later.
 *
 * The errand is the first member of a struct that the caller makes, which holds all that run() needs, because the
 * caller may be gone. Nothing here takes a lock that calls of the program wait for, and run() must not either: it
 * may be seconds before the thread of a background errand runs again. It cannot do without the locks of malloc()
 * and of the loader, and for their sake it is at nice 19 and not of SCHED_IDLE, whose share of a busy processor is
 * five times smaller. Nor does it free what was allocated elsewhere: destroy() is called in the caller's thread, or
 * in that of the caller of a later errand.
 */
#ifndef RMEM_COMMON_ERRAND_H
#define RMEM_COMMON_ERRAND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"

/* Zeroed memory, but for the two functions, is one that was not started. */
struct errand {
	void (*run)(struct errand *e);     /* in a thread of its own */
	void (*destroy)(struct errand *e); /* frees it */
	bool background;                   /* at nice 19 */
	bool started;
	const char *name; /* of the thread */
	_Atomic uint32_t state;
	struct errand *next; /* of those that were left and are done */
};

/* 0 or -EAGAIN: then it is as before. */
int errand_start(struct errand *e, struct errinfo *errinfo);

#define ERRAND_FOREVER UINT64_MAX

/* Wait until it is done: 0; -ETIMEDOUT at the deadline (on clock_boot_ns()); -ECANCELED. */
int errand_wait(struct errand *e, uint64_t deadline_ns);

/* Another thread: ends a wait for the errand. */
void errand_cancel(struct errand *e);

/* The caller is through with it: it is destroyed, now or when it is done. One that was not started is fine. */
void errand_leave(struct errand *e);

#endif
