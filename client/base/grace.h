/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grace periods: when have all operations ended that were on their way at some moment? Memory that is freed then is
 * used again only after them.
 *
 * Each channel is a member. Its thread counts the operations that begin and those that end, in order; an operation that
 * has ended changes nothing any more, neither here nor on the server. A period waits for the operations that had begun
 * on each member when it started. One period runs at a time; those that ask meanwhile get the next one. So the cost is
 * one look at each channel per period, and the operations themselves pay two counters that only their thread writes.
 *
 * Any thread; the counters: the channel's thread.
 */
#ifndef RMEM_CLIENT_BASE_GRACE_H
#define RMEM_CLIENT_BASE_GRACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct grace_member {
	_Atomic uint64_t begun, ended; /* operations: ended <= begun */
	/* Those up to here have been given up, and the server may still carry them out. */
	_Atomic uint64_t lost;
	uint64_t settled; /* ... or up to here: it is through with them */
	uint64_t awaited; /* that many have to end */
	struct grace_member *prev, *next;
};

struct grace {
	pthread_mutex_t lock;
	struct grace_member *members;
	uint64_t started, ended; /* periods: the running one is started, if it is not ended */
	bool wanted;             /* another one, after the running */
	/* The server may still carry out operations of a member that has left, or of none: no period ends. */
	bool lost;
};

void grace_init(struct grace *g);
void grace_destroy(struct grace *g);

void grace_join(struct grace *g, struct grace_member *m);
/* settled: the server is through with all that was begun on it. Else what has not ended is lost, as with grace_lose(). */
void grace_leave(struct grace *g, struct grace_member *m, bool settled);
/* What is no member's was given up, and the server may still carry it out: no period ends before grace_settle(). */
void grace_lose(struct grace *g);
/* The server is through with all that was given up, also on members that have left. */
void grace_settle(struct grace *g);

/* The period to wait for: what was begun before has ended when it has. */
uint64_t grace_begin(struct grace *g);
bool grace_has_ended(struct grace *g, uint64_t period);
/* Both at once: has all ended that was begun before? Where nothing is on its way, that is cheap. */
bool grace_is_over(struct grace *g);
/* Does the running period wait for what was given up, and for nothing that ends by itself? */
bool grace_is_held_up(struct grace *g);

static inline void grace_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_release);
}

#endif
