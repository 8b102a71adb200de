/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of operations: a ring of them, and a channel that carries them out in order. The completed ones are
 * those before the oldest that the channel still has. One thread at a time.
 *
 * Calls (calls.h) are no operations of the channel, so that neither grace periods nor the watch over the connection wait
 * for them. Each has its place between two operations, and is reported there.
 */
#ifndef RMEM_CLIENT_API_QUEUE_H
#define RMEM_CLIENT_API_QUEUE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/data/channel.h"
#include "client/space/call.h"
#include "common/errinfo.h"

#define QUEUE_DEPTH_MAX 65536

struct rmem_queue {
	struct rmem *rm;
	struct rmem_queue *prev, *next; /* of the session */
	struct channel *channel;
	struct operation *operations; /* a ring of mask + 1 */
	uint64_t mask, depth, reaped;
	uint64_t short_end; /* more may be started the short way until there are so many */
	bool fence;         /* before the next */
	int epoll_fd;       /* -1: never asked for */
	unsigned connects;  /* of the channel, when its descriptors were put there */
	bool armed;         /* the next completion makes it readable */
	bool quiet;        /* the last look found nothing: the caller may wait for the descriptor */
	int wake_fd;       /* makes it readable without a completion */
	int timer_fd;      /* ... when nothing has come for long */
	uint64_t timer_ns; /* when that is; 0: it is not set */
	struct reasons *reasons;       /* why operations have failed, of late */
	struct call_place *calls;      /* a ring of mask + 1; NULL: there has been none */
	uint64_t ncalls, calls_reaped; /* started and not reaped; reaped */
};

/* So far: all that has begun on its channel, which counts for the grace periods anyway. */
static inline uint64_t queue_started(const struct rmem_queue *q)
{
	return atomic_load_explicit(&q->channel->pipeline.turn.begun, memory_order_relaxed);
}

/* So many of these operations are before the oldest call. */
__attribute__((noinline)) uint64_t calls_limit(const struct rmem_queue *q, uint64_t operations);

/* Operations that are started, and neither on their way nor reaped. */
static inline uint64_t queue_ended(const struct rmem_queue *q)
{
	const struct operation *first = q->channel->pipeline.first;

	if (!first)
		return queue_started(q) - q->reaped;
	return ((uint64_t)(first - q->operations) - q->reaped) & q->mask;
}

/* ... nor behind a call. */
static inline uint64_t queue_completed(const struct rmem_queue *q)
{
	const uint64_t n = queue_ended(q);

	return __builtin_expect(q->ncalls == 0, 1) ? n : calls_limit(q, n);
}

/* Of any kind: started, and not reaped. */
static inline uint64_t queue_outstanding(const struct rmem_queue *q)
{
	return queue_started(q) - q->reaped + q->ncalls;
}

/* Not the short way: behind a fence, and where the program waits for the descriptor. */
static inline void queue_set_short_end(struct rmem_queue *q)
{
	const bool is_long = q->fence || (q->quiet && q->epoll_fd >= 0);

	q->short_end = is_long ? queue_started(q) : q->reaped + q->depth - q->ncalls;
}

/* Room for one more, of any kind: silent operations that have completed leave. 0 or -EAGAIN. */
int queue_make_room(struct rmem_queue *q, struct errinfo *errinfo);

/* The beginning of every call on a queue but those that start: as call_enter(). */
static inline int queue_enter(const struct rmem_queue *q, struct errinfo *errinfo)
{
	errinfo->text[0] = '\0';
	return q ? call_enter(q->rm, errinfo) : errinfo_set(errinfo, -EINVAL, "the queue is NULL");
}

#endif
