/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue, and how to wait for it: polling for a while (common/poll_budget.h says how long),
 * then asleep.
 *
 * One thread at a time. Negative returns are errnos: -ETIMEDOUT, -ECANCELED, -EIO of the device.
 */
#ifndef RMEM_COMMON_CQ_H
#define RMEM_COMMON_CQ_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/poll_budget.h"

struct cq {
	struct ibv_comp_channel *channel; /* non-blocking */
	struct ibv_cq *ibv;
	struct poll_budget budget;
};

/* What else ends a sleep. */
struct cq_sleep {
	int other_fd;  /* -1: none. cq_sleep() then returns 0 */
	int cancel_fd; /* -1: none. -ECANCELED */
	uint64_t deadline_ns;
	bool interruptible; /* -EINTR, when a signal handler has run */
};

/* 0, or what the device says. Half of it may exist then; cq_destroy() takes that too. */
int cq_create(struct cq *q, struct ibv_context *device, int depth);
void cq_destroy(struct cq *q);

/* Take back what has been announced on the channel. */
void cq_drain(struct cq *q);

/*
 * Poll: how many of wc[] are filled, or 0 when polling longer is not worth it, or the deadline has passed. max 1 says
 * that nothing else is under way. After 0 comes cq_sleep(), as often as it takes, and cq_slept().
 */
int cq_spin(struct cq *q, struct ibv_wc *wc, int max, uint64_t deadline_ns);

/* Sleep until there is a completion: how many; 0: none yet, something else may have happened. */
int cq_sleep(struct cq *q, struct ibv_wc *wc, int max, const struct cq_sleep *how);

/* The wait has ended asleep, or was given up. */
void cq_slept(struct cq *q, bool came);

#endif
