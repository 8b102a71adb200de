/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of operations: a ring of them, and a channel that carries them out in order. The completed ones are
 * those before the oldest that the channel still has.
 */
#include "client/api/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include "client/space/call.h"
#include "client/data/keys.h"
#include "client/data/progress.h"
#include "client/data/fastpath.h"
#include "common/clock.h"
#include "common/denial.h"

#define QUEUE_ATTR_V1_SIZE (offsetof(struct rmem_queue_attr, flags) + sizeof(uint32_t))
#define DEPTH_DEFAULT 128
#define DEPTH_MAX 65536
#define REASON_SHIFT 8  /* in the flags of a completion: the low ones are for the program */
#define REASONS_MAX 128 /* sentences that are kept: 64 KiB */

struct rmem_queue {
	struct rmem *rm;
	struct rmem_queue *prev, *next; /* of the session */
	struct channel *channel;
	struct operation *operations; /* a ring of mask + 1 */
	uint64_t mask, depth, started, reaped;
	uint64_t short_end; /* more may be started the short way until there are so many */
	bool fence;         /* before the next */
	int epoll_fd;       /* -1: never asked for */
	unsigned connects;  /* of the channel, when its descriptors were put there */
	bool armed;         /* the next completion makes it readable */
	bool quiet;        /* the last look found nothing: the caller may wait for the descriptor */
	int wake_fd;       /* makes it readable without a completion */
	int timer_fd;      /* ... when nothing has come for long */
	uint64_t timer_ns; /* when that is; 0: it is not set */
	struct reasons *reasons; /* why operations have failed, of late */
};

static int check_attr(const struct rmem_queue_attr *attr, unsigned *depth, struct errinfo *errinfo)
{
	struct rmem_queue_attr a;
	int rc;

	*depth = DEPTH_DEFAULT;
	if (!attr)
		return 0;
	rc = call_copy_attr(&a, sizeof(a), attr, QUEUE_ATTR_V1_SIZE, errinfo);
	if (rc == 0)
		rc = call_check_flags(a.flags, 0, errinfo);
	if (rc)
		return rc;
	if (a.depth > DEPTH_MAX)
		return errinfo_set(errinfo, -EINVAL,
			"a depth of %u: at most %d operations can be started", a.depth, DEPTH_MAX);
	if (a.depth)
		*depth = a.depth;
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

/* A queue whose ring has this many places, a power of 2. NULL: out of memory. */
static struct rmem_queue *create_parts(struct rmem *rm, unsigned ring)
{
	struct rmem_queue *q = heap_alloc(rm->session.heap, sizeof(*q));

	if (!q)
		return NULL;
	q->rm = rm;
	q->mask = ring - 1;
	q->operations = heap_alloc(rm->session.heap, ring * sizeof(*q->operations));
	q->reasons = reasons_create(ring < REASONS_MAX ? ring : REASONS_MAX);
	if (q->operations && q->reasons)
		return q;
	free_parts(q);
	return NULL;
}

RMEM_API int rmem_queue_create(
	struct rmem *rm, const struct rmem_queue_attr *attr, struct rmem_queue **out)
{
	struct rmem_queue *q = NULL;
	unsigned depth, ring = 1;
	struct errinfo errinfo;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = check_attr(attr, &depth, &errinfo);
	if (rc == 0)
		rc = check_count(rm, &errinfo);
	if (rc)
		return call_done(rc, "rmem_queue_create", &errinfo);
	while (ring < depth)
		ring *= 2;
	q = create_parts(rm, ring);
	if (!q)
		rc = errinfo_set(&errinfo, -ENOMEM, "out of memory");
	if (rc == 0)
		rc = thread_channels_add(&rm->channels, &q->channel, &errinfo);
	if (rc) {
		if (q)
			free_parts(q);
		return call_done(rc, "rmem_queue_create", &errinfo);
	}
	q->channel->pipeline.reasons = q->reasons;
	q->depth = depth;
	q->epoll_fd = q->wake_fd = q->timer_fd = -1;
	q->quiet = true;
	q->short_end = depth;
	pthread_mutex_lock(&rm->queues_lock);
	DL_APPEND(rm->queues, q);
	pthread_mutex_unlock(&rm->queues_lock);
	*out = q;
	return 0;
}

static void close_descriptors(struct rmem_queue *q)
{
	if (q->epoll_fd >= 0)
		close(q->epoll_fd);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	if (q->timer_fd >= 0)
		close(q->timer_fd);
}

static void take_away(struct rmem_queue *q)
{
	pthread_mutex_lock(&q->rm->queues_lock);
	DL_DELETE(q->rm->queues, q);
	pthread_mutex_unlock(&q->rm->queues_lock);
	thread_channels_remove(&q->rm->channels, q->channel);
	close_descriptors(q);
	free_parts(q);
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
		close_descriptors(q);
}

/* ---- the descriptor ---- */

static uint64_t completed(const struct rmem_queue *q)
{
	const struct operation *first = q->channel->pipeline.first;

	if (!first)
		return q->started - q->reaped;
	return ((uint64_t)(first - q->operations) - q->reaped) & q->mask;
}

/* That it is there from an earlier try is fine. */
static bool watch(struct rmem_queue *q, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST;
}

/* Whoever waits for the descriptor comes and reaps, whether or not there is something. */
static void wake(struct rmem_queue *q)
{
	uint64_t one = 1;

	(void)!write(q->wake_fd, &one, sizeof(one));
}

/* Put the descriptors of the channel's present connection where the caller's one looks. */
static void watch_connection(struct rmem_queue *q)
{
	struct endpoint *ep = q->channel->pipeline.ep;

	if (!ep || q->connects == q->channel->connects)
		return;
	/* The descriptors of the one before are closed, and have left by that. */
	if (watch(q, endpoint_completion_fd(ep)) && watch(q, endpoint_fd(ep)))
		q->connects = q->channel->connects;
	else
		wake(q); /* the next reap tries again */
	q->armed = false;
}

/* Of a connection that is dead nothing may ever come: the caller is to look after a while, and finds out. */
static void set_timer(struct rmem_queue *q)
{
	struct itimerspec when = { .it_value = { .tv_sec = PIPELINE_LOOK_NS / NSEC_PER_SEC } };

	if (!q->timer_ns && timerfd_settime(q->timer_fd, 0, &when, NULL) == 0)
		q->timer_ns = clock_boot_ns() + PIPELINE_LOOK_NS;
}

/* Before looking for completions: what the descriptor has announced is being seen to. */
static void disarm(struct rmem_queue *q)
{
	struct endpoint *ep = q->channel->pipeline.ep;
	uint64_t unused;

	(void)!read(q->wake_fd, &unused, sizeof(unused));
	if (q->timer_ns && clock_boot_ns() >= q->timer_ns &&
		read(q->timer_fd, &unused, sizeof(unused)) > 0)
		q->timer_ns = 0;
	if (!ep || q->connects != q->channel->connects)
		return;
	if (q->armed)
		endpoint_disarm(ep);
	q->armed = false;
	(void)endpoint_watch(ep);
}

/* There is nothing: let the descriptor tell when there is. True: look once more, it may have come. */
static bool arm(struct rmem_queue *q)
{
	watch_connection(q);
	set_timer(q);
	if (q->armed || !q->channel->pipeline.ep)
		return false;
	q->armed = endpoint_arm(q->channel->pipeline.ep) == 0;
	if (!q->armed)
		wake(q); /* nothing else would: the next reap tries again */
	return q->armed;
}

/*
 * While the caller may be waiting for the descriptor: what is started must make it readable. Completions do,
 * if they are asked for before anything is posted.
 */
static bool announce_begin(struct rmem_queue *q)
{
	if (q->epoll_fd < 0 || !q->quiet)
		return false;
	if (!channel_is_busy(q->channel))
		(void)arm(q);
	return true;
}

/* Grows when the channel has waited for its connection, which takes away what the next completion would tell. */
static uint64_t waits(const struct rmem_queue *q)
{
	return q->channel->pipeline.done + q->channel->seq;
}

/* What has completed meanwhile, or goes over another connection now, would not be heard of. */
static void announce_end(struct rmem_queue *q, uint64_t waits_before)
{
	if (completed(q) || waits(q) != waits_before || q->connects != q->channel->connects)
		wake(q);
}

/* ---- starting ---- */

/* Room for one more; NULL, and *rc. */
static struct operation *begin(struct rmem_queue *q, enum operation_kind kind, uint64_t tag,
	int *rc, struct errinfo *errinfo)
{
	struct operation *op;

	errinfo->text[0] = '\0';
	if (!q) {
		*rc = errinfo_set(errinfo, -EINVAL, "the queue is NULL");
		return NULL;
	}
	*rc = call_enter(q->rm, errinfo);
	if (*rc == 0 && q->started - q->reaped == q->depth)
		*rc = errinfo_set(errinfo, -EAGAIN,
			"%u operations have been started: reap some, or create the queue with a "
			"greater depth",
			(unsigned)q->depth);
	if (*rc)
		return NULL;
	op = &q->operations[q->started & q->mask];
	*op = (struct operation){ .kind = kind,
		.fence = q->fence,
		.tag = tag,
		.as_of = keys_as_of(q->channel->session) };
	return op;
}

/* Not the short way: behind a fence, and where the program waits for the descriptor. */
static void set_short_end(struct rmem_queue *q)
{
	const bool is_long = q->fence || (q->quiet && q->epoll_fd >= 0);

	q->short_end = is_long ? q->started : q->reaped + q->depth;
}

static void started(struct rmem_queue *q)
{
	struct errinfo errinfo;

	q->started++;
	q->fence = false;
	set_short_end(q);
	if (channel_unposted(q->channel) >= PIPELINE_BATCH)
		progress_post(q->channel, &errinfo);
}

static int start(struct rmem_queue *q, struct operation *op, int rc, const char *call,
	struct errinfo *errinfo)
{
	bool announce;
	uint64_t before;

	if (rc)
		return call_done(rc, call, errinfo);
	announce = announce_begin(q);
	before = waits(q);
	rc = progress_start(q->channel, op, errinfo);
	if (rc == 0)
		started(q);
	if (announce)
		announce_end(q, before);
	return call_done(rc, call, errinfo);
}

static __attribute__((noinline)) void post_batch(struct channel *ch)
{
	struct errinfo errinfo;

	if (channel_unposted(ch) >= PIPELINE_BATCH)
		progress_post(ch, &errinfo);
}

/* In a child after fork() the channel is not as it was, which fastpath_start() sees. */
static inline __attribute__((always_inline)) bool start_short(struct rmem_queue *q,
	enum operation_kind kind, void *local, rmem_addr_t remote, size_t bytes, uint64_t tag)
{
	struct channel *ch = q->channel;

	if (q->started >= q->short_end || !fastpath_start(ch, &q->operations[q->started & q->mask],
						  kind, local, remote, bytes, tag))
		return false;
	q->started++;
	if (ch->pipeline.built >= ch->pipeline.short_end)
		post_batch(ch);
	return true;
}

static __attribute__((noinline)) int start_long(struct rmem_queue *q, enum operation_kind kind,
	void *local, rmem_addr_t remote, size_t bytes, uint64_t tag, const char *call)
{
	struct errinfo errinfo;
	int rc;
	struct operation *op = begin(q, kind, tag, &rc, &errinfo);

	if (op)
		rc = operation_plan_one(op, local, remote, bytes, &errinfo);
	return start(q, op, rc, call, &errinfo);
}

RMEM_API int rmem_start_read(
	struct rmem_queue *q, void *dst, rmem_addr_t src, size_t bytes, uint64_t tag)
{
	if (q && start_short(q, OPERATION_READ, dst, src, bytes, tag))
		return 0;
	return start_long(q, OPERATION_READ, dst, src, bytes, tag, "rmem_start_read");
}

RMEM_API int rmem_start_write(
	struct rmem_queue *q, rmem_addr_t dst, const void *src, size_t bytes, uint64_t tag)
{
	void *local = (void *)(uintptr_t)src; /* it is only read */

	if (q && start_short(q, OPERATION_WRITE, local, dst, bytes, tag))
		return 0;
	return start_long(q, OPERATION_WRITE, local, dst, bytes, tag, "rmem_start_write");
}

static int start_lists(struct rmem_queue *q, enum operation_kind kind, const struct iovec *local,
	int nlocal, const struct rmem_iovec *remote, int nremote, uint64_t tag, const char *call)
{
	struct errinfo errinfo;
	int rc;
	struct operation *op = begin(q, kind, tag, &rc, &errinfo);

	if (op)
		rc = operation_plan(op, local, nlocal, remote, nremote, &errinfo);
	return start(q, op, rc, call, &errinfo);
}

RMEM_API int rmem_start_readv(struct rmem_queue *q, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, uint64_t tag)
{
	return start_lists(
		q, OPERATION_READ, local, nlocal, remote, nremote, tag, "rmem_start_readv");
}

RMEM_API int rmem_start_writev(struct rmem_queue *q, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, uint64_t tag)
{
	return start_lists(
		q, OPERATION_WRITE, local, nlocal, remote, nremote, tag, "rmem_start_writev");
}

static int start_word(struct rmem_queue *q, const struct operation *word, const char *call)
{
	struct errinfo errinfo;
	int rc;
	struct operation *op = begin(q, word->kind, word->tag, &rc, &errinfo);

	if (op) {
		op->addr = word->addr;
		op->add_or_expected = word->add_or_expected;
		op->desired = word->desired;
		op->old = word->old;
		rc = operation_check_word(op, &errinfo);
	}
	return start(q, op, rc, call, &errinfo);
}

RMEM_API int rmem_start_fetch_add(
	struct rmem_queue *q, rmem_addr_t addr, uint64_t add, uint64_t *old, uint64_t tag)
{
	const struct operation word = { .kind = OPERATION_FETCH_ADD,
		.addr = addr,
		.add_or_expected = add,
		.old = old,
		.tag = tag };

	return start_word(q, &word, "rmem_start_fetch_add");
}

RMEM_API int rmem_start_compare_swap(struct rmem_queue *q, rmem_addr_t addr, uint64_t expected,
	uint64_t desired, uint64_t *old, uint64_t tag)
{
	const struct operation word = { .kind = OPERATION_COMPARE_SWAP,
		.addr = addr,
		.add_or_expected = expected,
		.desired = desired,
		.old = old,
		.tag = tag };

	return start_word(q, &word, "rmem_start_compare_swap");
}

static int enter(struct rmem_queue *q, struct errinfo *errinfo)
{
	errinfo->text[0] = '\0';
	return q ? call_enter(q->rm, errinfo) : errinfo_set(errinfo, -EINVAL, "the queue is NULL");
}

RMEM_API int rmem_fence(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = enter(q, &errinfo);

	if (rc == 0) {
		q->fence = true;
		set_short_end(q);
	}
	return call_done(rc, "rmem_fence", &errinfo);
}

RMEM_API int rmem_submit(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = enter(q, &errinfo);

	if (rc == 0)
		progress_post(q->channel, &errinfo);
	return call_done(rc, "rmem_submit", &errinfo);
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

RMEM_API int rmem_reap(struct rmem_queue *q, struct rmem_completion *out, int max, int timeout_ms)
{
	struct errinfo errinfo;
	const struct operation *failed = NULL;
	uint64_t done;
	int n = 0, rc = enter(q, &errinfo);

	if (rc == 0 && (max < 1 || !out))
		rc = errinfo_set(&errinfo, -EINVAL, "there is no room for completions");
	if (rc)
		return call_done(rc, "rmem_reap", &errinfo);
	if (q->epoll_fd >= 0)
		disarm(q);
	if (channel_is_busy(q->channel))
		progress_advance(q->channel, completed(q) ? 0 : deadline_of(timeout_ms), &errinfo);
	if (q->epoll_fd >= 0 && !completed(q) && channel_is_busy(q->channel) && arm(q))
		progress_advance(q->channel, 0, &errinfo);
	done = completed(q);
	if (done < (uint64_t)max)
		max = (int)done;
	for (; n < max; n++) {
		const struct operation *op = &q->operations[(q->reaped + (uint64_t)n) & q->mask];

		out[n] = (struct rmem_completion){
			.tag = op->tag, .status = op->status, .result = op->result
		};
		if (unlikely(op->status)) {
			out[n].flags = op->reason << REASON_SHIFT;
			out[n].result = 0;
			failed = op;
		}
	}
	q->reaped += (uint64_t)n;
	q->quiet = n == 0;
	set_short_end(q);
	if (failed)
		call_done(failed->status, "rmem_reap", why(q, failed->reason));
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

static int make_descriptor(struct rmem_queue *q, struct errinfo *errinfo)
{
	int rc;

	if (q->wake_fd < 0)
		q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->timer_fd < 0)
		q->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (q->wake_fd < 0 || q->timer_fd < 0) {
		rc = -errno;
		return denial_explain(
			DENIED_FILE, rc, q->wake_fd < 0 ? "eventfd" : "timerfd_create", errinfo);
	}
	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->epoll_fd < 0 || !watch(q, q->wake_fd) || !watch(q, q->timer_fd)) {
		rc = -errno;
		if (q->epoll_fd >= 0)
			close(q->epoll_fd);
		q->epoll_fd = -1;
		return denial_explain(DENIED_FILE, rc, "epoll", errinfo);
	}
	watch_connection(q);
	set_short_end(q);
	return 0;
}

RMEM_API int rmem_queue_fd(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = enter(q, &errinfo);

	if (rc == 0 && q->epoll_fd < 0)
		rc = make_descriptor(q, &errinfo);
	return rc ? call_done(rc, "rmem_queue_fd", &errinfo) : q->epoll_fd;
}
