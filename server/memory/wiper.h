/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that zeroes memory, on the CPUs of the memory's node if that node has any. The event loop hands ranges over
 * and takes them back when they are zero, in the same order; both are bounded by WIPER_RANGES. The thread touches
 * nothing but the bytes of the ranges.
 *
 * All calls from one thread, such as the event loop.
 */
#ifndef RMEM_SERVER_MEMORY_WIPER_H
#define RMEM_SERVER_MEMORY_WIPER_H

#include <stdbool.h>
#include <stdint.h>

struct topology;
struct wiper;

#define WIPER_RANGES 64 /* that a wiper has at a time */

struct wiper_range {
	char *addr;
	uint64_t bytes;
	uint32_t slot; /* the caller's */
};

/* done_fd: an eventfd, written when a range is done and there was none before. -ENOMEM, or errno of pthread_create. */
int wiper_start(struct wiper **out, const struct topology *t, unsigned node, int done_fd);

/* Ranges that are not done stay partly wiped; takes some milliseconds. NULL is fine. */
void wiper_stop(struct wiper *w);

/* false: it has WIPER_RANGES. */
bool wiper_give(struct wiper *w, const struct wiper_range *range);

/* The oldest range, if it is zero now. */
bool wiper_take(struct wiper *w, struct wiper_range *out);

/* Wait until the oldest range is done. Returns at once if there is none. */
void wiper_wait(struct wiper *w);

/* Bytes wiped so far: shows progress within a large range. */
uint64_t wiper_bytes(const struct wiper *w);

#endif
