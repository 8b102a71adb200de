/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Local memory registered for the time of one copy: long pieces that the application did not have
 * registered. A pin is shared by work requests of the same piece and goes when the copy ends, or
 * when its place is needed and no outstanding work request uses it.
 *
 * One thread: the connection's sender.
 */
#ifndef RMEM_CLIENT_PINS_H
#define RMEM_CLIENT_PINS_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/endpoint.h"

#define PINS (ENDPOINT_WINDOW + 1) /* one more than can be in use */

struct pin {
	struct ibv_mr *mr;
	uintptr_t start, end;
	uint64_t used; /* number of the last work request that uses it */
};

struct pins {
	struct pin items[PINS];
	bool any;
	uint64_t made; /* ever */
};

/*
 * Have [start, start + len) registered for the work request of this number; what follows up to end
 * is taken in too, within bounds. NULL if it cannot be done: locked-memory limit, memory that cannot
 * be pinned. For a write the memory may be read-only.
 */
struct ibv_mr *pins_get(struct pins *p, struct ibv_pd *pd, uintptr_t start, size_t len,
	uintptr_t end, bool read, uint64_t number);

/* Nothing is outstanding: let go of all. */
void pins_clear(struct pins *p);

#endif
