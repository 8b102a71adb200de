/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the threads of a session have for themselves: channels, and magazines of small objects. A thread gets one of its own at its first copy, up
 * to a limit; it goes back when the thread ends. Threads beyond that share one more, under a lock, until a copy
 * finds one that has gone back. Queues bring theirs.
 *
 * A thread that has its channel finds it without a lock and without touching what others write.
 */
#ifndef RMEM_CLIENT_SPACE_THREAD_CHANNELS_H
#define RMEM_CLIENT_SPACE_THREAD_CHANNELS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/data/channel.h"
#include "client/slabs/thread_cache.h"
#include "client/space/site_cache.h"
#include "client/base/fair_lock.h"
#include "rmem/rmem.h"

struct thread_channels {
	uint64_t id; /* of all the process ever had */
	struct session *session;
	bool no_sites; /* RMEM_OPEN_NO_SITES. Set before the first call */
	/* thread_channels_cache_now() has none: what each call is to see, and make a fence (checking.h, barrier.h). */
	bool cache_hidden;
	unsigned limit; /* threads that get a channel of their own */
	struct thread_channels *next;

	pthread_mutex_t lock;
	struct channel *all;  /* of the session */
	struct channel *free; /* of threads that have ended */
	unsigned given;
	struct rmem_stats retired;        /* what channels that are gone have moved */
	struct thread_cache *caches;      /* all of the session */
	struct thread_cache *free_caches; /* of threads that have ended */

	struct channel *common;
	struct fair_lock common_lock;
};

/* What the thread has of a session. */
struct thread_channel {
	uint64_t id;                /* of the session's thread_channels; 0: none */
	struct channel *channel;    /* NULL: it has not copied yet */
	struct thread_cache *cache; /* NULL: it has not allocated small objects yet */
	uint64_t
		quick; /* as the session's vitals have it, if warm calls have all they need; else QUICK_NONE */
	bool common;
};

#define QUICK_NONE UINT64_MAX

/* The one this thread used last. */
extern _Thread_local struct thread_channel thread_channel_now
	__attribute__((tls_model("initial-exec")));

void thread_channels_init(struct thread_channels *t, struct session *s, unsigned limit);
/* Destroys all channels. Other threads may still remember theirs, but do not use them. */
void thread_channels_destroy(struct thread_channels *t);

/* This thread's own channel, if it was the last it used. */
static inline struct channel *thread_channels_mine(const struct thread_channels *t)
{
	return thread_channel_now.id == t->id && !thread_channel_now.common
		       ? thread_channel_now.channel
		       : NULL;
}

/* This thread's magazines, if the session was the last that it used, and they are not hidden. */
static inline struct thread_cache *thread_channels_cache_now(const struct thread_channels *t)
{
	return thread_channel_now.id == t->id && !t->cache_hidden ? thread_channel_now.cache : NULL;
}

/* ... and its memory of call sites, hidden or not. */
static inline struct site_cache *thread_channels_sites_now(const struct thread_channels *t)
{
	const struct thread_cache *cache = thread_channel_now.cache;

	return thread_channel_now.id == t->id && cache ? cache->sites : NULL;
}

/*
 * The magazines again, with a memory of call sites if the session has any: where this is true, they are the calling
 * thread's for this session, neither is closed, nor the process a child, and nothing is checked. One look at a word
 * that tells all of that.
 */
static inline bool thread_channels_quick(const struct vitals *v, struct thread_cache **out)
{
	*out = thread_channel_now.cache;
	return atomic_load_explicit(&v->quick, memory_order_relaxed) == thread_channel_now.quick;
}

/* They may have to be made first. NULL: out of memory, or nothing can be written down for this thread. */
struct thread_cache *thread_channels_cache(struct thread_channels *t);

/* All slots of all threads go to the depot. No thread is in a call. */
void thread_channels_drain(struct thread_channels *t);

/* The channel that this thread is to use, which may have to be made first; to be left soon. */
int thread_channels_enter(struct thread_channels *t, uint64_t deadline_ns, struct channel **out,
	struct errinfo *errinfo);
void thread_channels_leave(struct thread_channels *t);

/* A channel for a queue. 0, -ENOMEM or what reconnect_channel() returns. */
int thread_channels_add(struct thread_channels *t, uint64_t deadline_ns, struct channel **out,
	struct errinfo *errinfo);
void thread_channels_remove(struct thread_channels *t, struct channel *ch);

void thread_channels_stats(struct thread_channels *t, struct rmem_stats *out);

#endif
