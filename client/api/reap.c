/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that take completions from a queue. */
#include <errno.h>

#include "client/api/calls.h"
#include "client/api/descriptor.h"
#include "client/api/queue.h"
#include "client/data/fastpath.h"
#include "client/data/progress.h"
#include "common/clock.h"

static uint64_t deadline_of(int timeout_ms)
{
	if (timeout_ms < 0)
		return PIPELINE_FOREVER;
	return timeout_ms ? clock_boot_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC : 0;
}

static bool is_before(uint64_t deadline_ns)
{
	return deadline_ns && (deadline_ns == PIPELINE_FOREVER || clock_boot_ns() < deadline_ns);
}

/* The sentence of that number; if it is gone, what the queue ran into last. */
static const struct errinfo *reason_of(const struct rmem_queue *q, uint32_t number)
{
	static const struct errinfo nothing = { "" };
	const struct errinfo *found = reasons_find(q->reasons, number);

	if (!found)
		found = reasons_find(q->reasons, q->reasons->last);
	return found ? found : &nothing;
}

static inline uint64_t completed(const struct rmem_queue *q, bool calls)
{
	return calls ? queue_completed(q) : queue_ended(q);
}

/* One that has failed, or is silent: is there a completion for it? */
static __attribute__((noinline)) bool report(
	const struct operation *op, struct rmem_completion *out, struct call_failure *failed)
{
	if (!op->status || op->is_journal)
		return false;
	*out = (struct rmem_completion){
		.tag = op->tag, .status = op->status, .flags = op->reason << CALLS_REASON_SHIFT
	};
	*failed = (struct call_failure){ op->status, op->reason };
	return true;
}

/* Of so many that have completed at the head, at most max of what is reported: how many. */
static inline int collect_operations(struct rmem_queue *q, uint64_t left,
	struct rmem_completion *out, int max, struct call_failure *failed)
{
	const struct operation *op = &q->operations[q->reaped & q->mask];
	const struct operation *const ring_end = &q->operations[q->mask + 1];
	struct rmem_completion *const first = out, *const end = out + max;

	q->reaped += left;
	for (; left && out != end; left--) {
		if (likely(!(op->silent | op->status)))
			*out++ = (struct rmem_completion){ .tag = op->tag, .result = op->result };
		else
			out += report(op, out, failed);
		if (++op == ring_end)
			op = q->operations;
	}
	q->reaped -= left;
	return (int)(out - first);
}

/* ... and calls between them: n are there. */
static int collect_calls(struct rmem_queue *q, struct rmem_completion *out, int n, int max,
	struct call_failure *failed)
{
	while (q->ncalls && n < max && calls_reap(q, &out[n], failed)) {
		n++;
		n += collect_operations(q, queue_completed(q), out + n, max - n, failed);
	}
	return n;
}

/* Let operations complete: wait for the first, if none has. calls: there are some. 0 or -EINTR. */
static inline __attribute__((always_inline)) int advance(
	struct rmem_queue *q, bool calls, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const bool next = calls && calls_are_next(q);
	int rc = 0;

	if (q->epoll_fd >= 0)
		descriptor_disarm(q);
	if (channel_is_busy(q->channel))
		rc = progress_advance(
			q->channel, next || completed(q, calls) ? 0 : deadline_ns, errinfo);
	if (next && rc == 0)
		rc = calls_wait(q, deadline_ns);
	if (q->epoll_fd >= 0 && !completed(q, calls) && channel_is_busy(q->channel) &&
		descriptor_arm(q))
		progress_advance(q->channel, 0, errinfo);
	return rc;
}

/* How many there are in the end, or -EINTR. calls is a constant: without any, nothing asks for them. */
static inline __attribute__((always_inline)) int reap(struct rmem_queue *q, bool calls,
	struct rmem_completion *out, int max, uint64_t deadline_ns, struct call_failure *failed,
	struct errinfo *errinfo)
{
	uint64_t ready;
	int n, rc;

	do { /* again, if all that has completed is not to be reported */
		rc = advance(q, calls, deadline_ns, errinfo);
		ready = completed(q, calls);
		n = collect_operations(q, ready, out, max, failed);
		if (calls)
			n = collect_calls(q, out, n, max, failed);
	} while (n == 0 && rc == 0 && (channel_is_busy(q->channel) || (calls && q->ncalls)) &&
		 (ready || is_before(deadline_ns)));
	return n ? n : rc;
}

static __attribute__((noinline)) int reap_with_calls(struct rmem_queue *q,
	struct rmem_completion *out, int max, uint64_t deadline_ns, struct call_failure *failed,
	struct errinfo *errinfo)
{
	return reap(q, true, out, max, deadline_ns, failed, errinfo);
}

RMEM_API int rmem_reap(struct rmem_queue *q, struct rmem_completion *out, int max, int timeout_ms)
{
	struct errinfo errinfo;
	struct call_failure failed = { 0, 0 };
	uint64_t deadline_ns;
	int n, rc = queue_enter(q, &errinfo);

	if (rc == 0 && (max < 1 || !out))
		rc = errinfo_set(&errinfo, -EINVAL, "there is no room for completions");
	if (rc)
		return call_done(rc, "rmem_reap", &errinfo);
	deadline_ns = deadline_of(timeout_ms);
	n = likely(q->ncalls == 0) ? reap(q, false, out, max, deadline_ns, &failed, &errinfo)
				   : reap_with_calls(q, out, max, deadline_ns, &failed, &errinfo);
	q->quiet = n <= 0;
	queue_set_short_end(q);
	if (failed.status)
		call_done(failed.status, "rmem_reap", reason_of(q, failed.reason));
	if (n < 0)
		return call_done(n, "rmem_reap",
			&(struct errinfo){ "a signal handler ran while it waited" });
	return n;
}

RMEM_API const char *rmem_completion_errmsg(
	const struct rmem_queue *q, const struct rmem_completion *completion)
{
	const struct errinfo *reason;

	if (!q || !completion || completion->status >= 0)
		return "";
	reason = reasons_find(q->reasons, completion->flags >> CALLS_REASON_SHIFT);
	return reason ? reason->text : errinfo_errno(-completion->status);
}
