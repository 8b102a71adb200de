/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The windows of the simulated device, in place of server/grant/grant.c. A window admits its peer from the moment in which
 * its bind is posted until its invalidation completes, or it is destroyed; destroying fails now and then, and of some
 * windows always. They outlive a server's mistakes: what the simulation looks for is one that is still bound over
 * memory of somebody else.
 */
#ifndef RMEM_SIM_WINDOW_H
#define RMEM_SIM_WINDOW_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

struct grant;
struct link;

struct window {
	struct ibv_mw mw; /* first: what the server has is a pointer to this */
	bool exists, bound;
	bool stuck;          /* it will never be destroyed */
	unsigned refused;    /* so many times */
	bool region;         /* REGION: it has a region of its own, destroyed after it */
	bool region_refuses; /* ... and that one will never be */
	struct ibv_mr mr;
	char *memory;
	uint64_t addr, bytes;
	int access;      /* IBV_ACCESS_REMOTE_… */
	uint64_t serial; /* of the allocation; 0: the heartbeat page */
	struct link *link;
};

/* Once in so many calls, 0: never. Of windows that are made, so many are stuck. */
struct window_faults {
	unsigned create, destroy, stuck;
};

void windows_begin(const struct window_faults *faults);
void windows_server_died(void);

/* Iterate: start with NULL; those that exist. */
struct window *window_next(struct window *after);

/* The bind of a reply was posted on that link. */
void window_bound(struct ibv_send_wr *bind, struct link *link);
/* The invalidation of a grant's window has been done by the device. */
void window_invalidated(struct grant *g);
/* A spare that its connection gives back. */
void window_destroy_spare(struct ibv_mw *mw);

#endif
