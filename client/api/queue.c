/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/api/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "client/api/descriptor.h"
#include "client/data/fastpath.h"
#include "client/data/progress.h"
#include "client/space/call.h"
#include "common/clock.h"

#define QUEUE_ATTR_V1_SIZE (offsetof(struct rmem_queue_attr, flags) + sizeof(uint32_t))
#define DEPTH_DEFAULT 128
#define DEPTH_MAX 65536
#define REASON_SHIFT 8  /* in the flags of a completion: the low ones are for the program */
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
	if (out->depth > DEPTH_MAX)
		return errinfo_set(errinfo, -EINVAL,
			"a depth of %u: at most %d operations can be started", out->depth,
			DEPTH_MAX);
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
	heap_free(heap, q->operations, (q->mask + 1) * sizeof(*q->operations));
	heap_free(heap, q, sizeof(*q));
}

/* A queue without a channel. NULL: out of memory. */
static struct rmem_queue *create_parts(struct rmem *rm, const struct rmem_queue_attr *attr)
{
	struct rmem_queue *q = heap_alloc(rm->session.heap, sizeof(*q));
	unsigned ring = 1;

	if (!q)
		return NULL;
	while (ring < attr->depth)
		ring *= 2;
	q->rm = rm;
	q->mask = ring - 1;
	q->depth = q->short_end = attr->depth;
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
	descriptor_close(q);
	free_parts(q);
}

/* Make it work: it is the session's then. */
static int connect_queue(
	struct rmem_queue *q, const struct rmem_queue_attr *attr, struct errinfo *errinfo)
{
	struct rmem *rm = q->rm;
	int rc = thread_channels_add(&rm->channels, &q->channel, errinfo);

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
	struct errinfo errinfo;

	DL_FOREACH_SAFE (rm->queues, q, next) {
		while (channel_is_busy(q->channel) && clock_boot_ns() < deadline_ns)
			progress_advance(q->channel, deadline_ns, &errinfo);
		take_away(q);
	}
}

void queues_abandon(struct rmem *rm)
{
	struct rmem_queue *q, *next;

	DL_FOREACH_SAFE (rm->queues, q, next)
		descriptor_close(q);
}

int queue_enter(const struct rmem_queue *q, struct errinfo *errinfo)
{
	errinfo->text[0] = '\0';
	return q ? call_enter(q->rm, errinfo) : errinfo_set(errinfo, -EINVAL, "the queue is NULL");
}

/* ---- reaping ---- */

static uint64_t deadline_of(int timeout_ms)
{
	if (timeout_ms < 0)
		return PIPELINE_FOREVER;
	return timeout_ms ? clock_boot_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC : 0;
}

/* If that is gone: what the queue ran into last. */
static const struct errinfo *why(const struct rmem_queue *q, uint32_t reason)
{
	static const struct errinfo nothing = { "" };
	const struct errinfo *found = reasons_find(q->reasons, reason);

	if (!found)
		found = reasons_find(q->reasons, q->reasons->last);
	return found ? found : &nothing;
}

void queue_drop_silent(struct rmem_queue *q)
{
	for (uint64_t done = queue_completed(q); done; done--) {
		const struct operation *op = &q->operations[q->reaped & q->mask];

		if (!op->silent || op->status)
			return;
		q->reaped++;
	}
}

/* What has completed at the head, at most max of what is reported: how many. */
static int collect(
	struct rmem_queue *q, struct rmem_completion *out, int max, const struct operation **failed)
{
	int n = 0;

	for (uint64_t done = queue_completed(q); n < max && done; done--) {
		const struct operation *op = &q->operations[q->reaped++ & q->mask];

		if (unlikely(op->silent && !op->status))
			continue;
		out[n] = (struct rmem_completion){
			.tag = op->tag, .status = op->status, .result = op->result
		};
		if (unlikely(op->status)) {
			out[n].flags = op->reason << REASON_SHIFT;
			out[n].result = 0;
			*failed = op;
		}
		n++;
	}
	return n;
}

/* Let operations complete: wait for the first, if none has. 0 or -EINTR. */
static int advance(struct rmem_queue *q, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = 0;

	if (q->epoll_fd >= 0)
		descriptor_disarm(q);
	if (channel_is_busy(q->channel))
		rc = progress_advance(q->channel, queue_completed(q) ? 0 : deadline_ns, errinfo);
	if (q->epoll_fd >= 0 && !queue_completed(q) && channel_is_busy(q->channel) &&
		descriptor_arm(q))
		progress_advance(q->channel, 0, errinfo);
	return rc;
}

RMEM_API int rmem_reap(struct rmem_queue *q, struct rmem_completion *out, int max, int timeout_ms)
{
	struct errinfo errinfo;
	const struct operation *failed = NULL;
	uint64_t deadline_ns;
	int n = 0, rc = queue_enter(q, &errinfo);

	if (rc == 0 && (max < 1 || !out))
		rc = errinfo_set(&errinfo, -EINVAL, "there is no room for completions");
	if (rc)
		return call_done(rc, "rmem_reap", &errinfo);
	deadline_ns = deadline_of(timeout_ms);
	do { /* again, if all that has completed is not to be reported */
		rc = advance(q, deadline_ns, &errinfo);
		n = collect(q, out, max, &failed);
	} while (n == 0 && rc == 0 && deadline_ns && channel_is_busy(q->channel) &&
		 (deadline_ns == PIPELINE_FOREVER || clock_boot_ns() < deadline_ns));
	q->quiet = n == 0;
	queue_set_short_end(q);
	if (failed)
		call_done(failed->status, "rmem_reap", why(q, failed->reason));
	if (n == 0 && rc)
		return call_done(rc, "rmem_reap",
			&(struct errinfo){ "a signal handler ran while it waited" });
	return n;
}

RMEM_API const char *rmem_completion_errmsg(
	const struct rmem_queue *q, const struct rmem_completion *completion)
{
	const struct errinfo *reason;

	if (!q || !completion || completion->status >= 0)
		return "";
	reason = reasons_find(q->reasons, completion->flags >> REASON_SHIFT);
	return reason ? reason->text : errinfo_errno(-completion->status);
}
