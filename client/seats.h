/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's channels, and which thread uses which. A thread gets one of its own at its first copy, up
 * to a limit; it goes back when the thread ends. Threads beyond that share one more, under a lock. Queues
 * bring theirs.
 *
 * A thread that has its channel finds it without a lock and without touching what others write.
 */
#ifndef RMEM_CLIENT_SEATS_H
#define RMEM_CLIENT_SEATS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/channel.h"
#include "client/turnstile.h"
#include "rmem/rmem.h"

struct seats {
	uint64_t id; /* of all the process ever had */
	struct session *session;
	unsigned limit; /* threads that get a channel of their own */
	struct seats *next;

	pthread_mutex_t lock;
	struct channel *all;  /* of the session */
	struct channel *free; /* of threads that have ended */
	unsigned given;
	struct rmem_stats retired; /* what channels that are gone have moved */

	struct channel *common;
	struct turnstile common_lock;
};

/* The thread's way to a channel. */
struct seat {
	uint64_t id; /* of the seats; 0: none */
	struct channel *channel;
	bool common;
};

/* The one this thread used last. */
extern _Thread_local struct seat seat_now __attribute__((tls_model("initial-exec")));

void seats_init(struct seats *t, struct session *s, unsigned limit);
/* Destroys all channels. Other threads may still have the session's seats in mind, but not in use. */
void seats_destroy(struct seats *t);
void seats_abandon(struct seats *t); /* in a child after fork(): the same without the device */

struct locals;
/* A thread ends: its channels are for others. */
void seats_stand_up(struct locals *l);

/* This thread's own channel, if it was the last it used. */
static inline struct channel *seats_mine(const struct seats *t)
{
	return seat_now.id == t->id && !seat_now.common ? seat_now.channel : NULL;
}

/* The channel that this thread is to use, which may have to be made first; to be left soon. */
int seats_enter(struct seats *t, struct channel **out, struct why *why);
void seats_leave(struct seats *t);

/* A channel for a queue. 0, -ENOMEM or what channel_connect() returns. */
int seats_add(struct seats *t, struct channel **out, struct why *why);
void seats_remove(struct seats *t, struct channel *ch);

void seats_stats(struct seats *t, struct rmem_stats *out);

#endif
