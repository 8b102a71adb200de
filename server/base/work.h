/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long work is done in slices, between the other events of the loop. Code that leaves something to do wakes it; what
 * there is to do, the slice knows (server/lease/reaper.h). The event loop only.
 */
#ifndef RMEM_SERVER_BASE_WORK_H
#define RMEM_SERVER_BASE_WORK_H

#include <stdint.h>

struct event;
struct wait;

struct work {
	struct event *event; /* of the next slice; a timer */
	struct wait *turns;  /* each waits for its turn: one of them per slice, the oldest first */
};

/* The next slice runs when the loop comes round. */
void work_wake(const struct work *w);

/* ... or then, on the boot clock, if nothing wakes it earlier. */
void work_wake_at(const struct work *w, uint64_t at_ns);

#endif
