/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/api/queues.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "client/api/calls.h"
#include "client/api/descriptor.h"
#include "client/api/queue.h"
#include "client/data/progress.h"
#include "client/space/call.h"
#include "common/clock.h"

#define QUEUE_ATTR_V1_SIZE (offsetof(struct rmem_queue_attr, flags) + sizeof(uint32_t))
#define DEPTH_DEFAULT 128
#define REASONS_MAX 128 /* sentences that are kept: 64 KiB */

static int read_attr(
	const struct rmem_queue_attr *attr, struct rmem_queue_attr *out, struct errinfo *errinfo)
{
	int rc = 0;

	*out = (struct rmem_queue_attr)RMEM_QUEUE_ATTR_INIT;
	if (attr)
		rc = call_copy_attr(out, sizeof(*out), attr, QUEUE_ATTR_V1_SIZE, errinfo);
	if (rc == 0)
		rc = call_check_flags(
			out->flags, RMEM_QUEUE_WATCHED | RMEM_QUEUE_INTERRUPTIBLE, errinfo);
	if (rc)
		return rc;
	if (out->depth > QUEUE_DEPTH_MAX)
		return errinfo_set(errinfo, -EINVAL,
			"a depth of %u: at most %d operations can be started", out->depth,
			QUEUE_DEPTH_MAX);
	if (out->depth == 0)
		out->depth = DEPTH_DEFAULT;
	return 0;
}

/* Threads get the channels that they were promised, whatever there are queues. */
static int check_count(struct rmem *rm, struct errinfo *errinfo)
{
	const unsigned limit = CHANNELS_PER_SESSION_MAX - (rm->channels.limit + 1);
	struct rmem_queue *q;
	unsigned count;

	pthread_mutex_lock(&rm->queues_lock);
	DL_COUNT(rm->queues, q, count);
	pthread_mutex_unlock(&rm->queues_lock);
	if (count < limit)
		return 0;
	return errinfo_set(errinfo, -EUSERS,
		"a session with %u channels for threads can have %u queues: destroy some, or open "
		"another session",
		rm->channels.limit, limit);
}

static void free_parts(struct rmem_queue *q)
{
	struct heap *heap = q->rm->session.heap;

	free(q->reasons);
	calls_destroy(q);
	heap_free(heap, q->operations, (q->mask + 1) * sizeof(*q->operations));
	heap_free(heap, q, sizeof(*q));
}

/* A queue without a channel. NULL: out of memory. */
static struct rmem_queue *create_parts(struct rmem *rm, const struct rmem_queue_attr *attr)
{
	struct rmem_queue *q = heap_alloc(rm->session.heap, sizeof(*q));
	/* An operation may have a record in front of it. */
	const unsigned depth = rm->session.exact ? 2 * attr->depth : attr->depth;
	unsigned ring = 1;

	if (!q)
		return NULL;
	while (ring < depth)
		ring *= 2;
	q->rm = rm;
	q->mask = ring - 1;
	q->depth = q->short_end = depth;
	q->epoll_fd = q->wake_fd = q->timer_fd = -1;
	q->quiet = true;
	q->operations = heap_alloc(rm->session.heap, ring * sizeof(*q->operations));
	q->reasons = reasons_create(ring < REASONS_MAX ? ring : REASONS_MAX);
	if (q->operations && q->reasons)
		return q;
	free_parts(q);
	return NULL;
}

static void take_away(struct rmem_queue *q)
{
	pthread_mutex_lock(&q->rm->queues_lock);
	DL_DELETE(q->rm->queues, q);
	descriptor_leave_set(q);
	pthread_mutex_unlock(&q->rm->queues_lock);
	thread_channels_remove(&q->rm->channels, q->channel);
	calls_leave(q);
	descriptor_close(q);
	free_parts(q);
}

/* Make it work: it is the session's then. */
static int connect_queue(
	struct rmem_queue *q, const struct rmem_queue_attr *attr, struct errinfo *errinfo)
{
	struct rmem *rm = q->rm;
	int rc = thread_channels_add(&rm->channels, PIPELINE_FOREVER, &q->channel, errinfo);

	if (rc) {
		free_parts(q);
		return rc;
	}
	q->channel->pipeline.reasons = q->reasons;
	q->channel->pipeline.interruptible = attr->flags & RMEM_QUEUE_INTERRUPTIBLE;
	pthread_mutex_lock(&rm->queues_lock);
	DL_APPEND(rm->queues, q);
	pthread_mutex_unlock(&rm->queues_lock);
	if (attr->flags & RMEM_QUEUE_WATCHED)
		rc = descriptor_join_set(q, errinfo);
	if (rc)
		take_away(q);
	return rc;
}

RMEM_API int rmem_queue_create(
	struct rmem *rm, const struct rmem_queue_attr *attr, struct rmem_queue **out)
{
	struct rmem_queue_attr mine;
	struct rmem_queue *q = NULL;
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = read_attr(attr, &mine, &errinfo);
	if (rc == 0)
		rc = check_count(rm, &errinfo);
	if (rc == 0)
		q = create_parts(rm, &mine);
	if (rc == 0 && !q)
		rc = errinfo_set(&errinfo, -ENOMEM, "out of memory");
	if (rc == 0)
		rc = connect_queue(q, &mine, &errinfo);
	if (rc == 0)
		*out = q;
	return call_done(rc, "rmem_queue_create", &errinfo);
}

RMEM_API void rmem_queue_destroy(struct rmem_queue *q)
{
	struct errinfo errinfo;

	if (!q || call_enter(q->rm, &errinfo))
		return;
	while (channel_is_busy(q->channel))
		progress_advance(q->channel, PIPELINE_FOREVER, &errinfo);
	take_away(q);
}

void queues_destroy(struct rmem *rm, uint64_t deadline_ns)
{
	struct rmem_queue *q, *next;
	struct errinfo errinfo = { "" };

	DL_FOREACH_SAFE (rm->queues, q, next) {
		while (channel_is_busy(q->channel) && clock_boot_ns() < deadline_ns)
			progress_advance(q->channel, deadline_ns, &errinfo);
		take_away(q);
	}
	descriptor_close_set(rm);
}

void queues_abandon(struct rmem *rm)
{
	struct rmem_queue *q;

	DL_FOREACH (rm->queues, q) {
		descriptor_close(q);
		free(q->reasons);
	}
	descriptor_close_set(rm);
}
