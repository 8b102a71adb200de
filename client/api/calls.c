/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/api/calls.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "client/api/alloc.h"
#include "client/api/descriptor.h"
#include "client/api/key.h"
#include "client/api/queue.h"
#include "client/space/locals.h"
#include "client/space/sharing.h"
#include "common/handshake.h"
#include "common/log.h"

/* How long operations behind a call that is waited for are left alone. */
#define BESIDE_NS (2 * NSEC_PER_MSEC)

/* One that takes a round trip: what is asked for, and what has become of it. */
struct call {
	struct call_job job;
	struct rmem *rm;
	uint64_t deadline_ns;
	int status;
	uint64_t result;
	struct errinfo errinfo;
	struct alloc_call alloc;
	struct stack stack; /* of the program's thread */
	rmem_addr_t addr;   /* to free, or to attach */
	uint64_t serial;    /* of the block that was attached, in the session's table */
	void *caller;
	struct key_parts key;
};

/* A call in the queue's order. */
struct call_place {
	uint64_t position; /* so many operations of the queue were started before it */
	uint64_t tag;
	struct call *call; /* NULL: it was over when it was started */
	bool is_alloc;     /* result is an address */
	int status;
	uint32_t reason;
	uint64_t result;
};

/* ---- in the session's thread for calls ---- */

static bool has_time(struct call *c)
{
	if (clock_boot_ns() < c->deadline_ns)
		return true;
	c->status = errinfo_set(&c->errinfo, -ETIMEDOUT,
		"rmemd does not answer: calls that were started before it had not ended when its "
		"time was over");
	return false;
}

static void run_alloc(struct call_job *job)
{
	struct call *c = (struct call *)job;

	if (has_time(c))
		c->status =
			alloc_carry_out(c->rm, &c->alloc, c->deadline_ns, &c->result, &c->errinfo);
}

/* Where the free is recorded, it is the program's call that did it, not this thread. */
static void run_free(struct call_job *job)
{
	struct call *c = (struct call *)job;
	struct locals *l = locals_get();

	if (!has_time(c))
		return;
	if (l && c->stack.depth)
		l->stack = &c->stack;
	c->status = alloc_release(c->rm, c->addr, c->caller, c->deadline_ns, &c->errinfo);
	if (l)
		l->stack = NULL;
}

/* Of the block in the session's table that begins there; 0: there is none. */
static uint64_t serial_at(struct session *s, rmem_addr_t addr)
{
	const struct block *block;
	uint64_t serial;

	pthread_mutex_lock(&s->table);
	block = blocks_find(&s->blocks, addr);
	serial = block ? block->serial : 0;
	pthread_mutex_unlock(&s->table);
	return serial;
}

static void run_attach(struct call_job *job)
{
	struct call *c = (struct call *)job;

	if (has_time(c))
		c->status = sharing_attach(&c->rm->session, c->addr, c->key.secret, c->key.pool,
			c->deadline_ns, &c->result, &c->errinfo);
	if (c->status == 0)
		c->serial = serial_at(&c->rm->session, c->addr);
}

static void note_undone(int rc, uint64_t addr, const struct errinfo *errinfo)
{
	if (rc && rc != -ESTALE)
		log_info("0x%" PRIx64 ", which was not reaped, stays: %s", addr, errinfo->text);
}

static void undo_alloc(struct call_job *job)
{
	struct call *c = (struct call *)job;
	struct errinfo errinfo = { "" };

	if (c->status == 0)
		note_undone(alloc_release(c->rm, c->result, c->caller,
				    session_deadline(&c->rm->session), &errinfo),
			c->result, &errinfo);
}

/* What was to be given back is, as well as it went. */
static void undo_free(struct call_job *job)
{
	const struct call *c = (struct call *)job;

	note_undone(c->status, c->addr, &c->errinfo);
}

static void undo_attach(struct call_job *job)
{
	struct call *c = (struct call *)job;
	struct errinfo errinfo = { "" };

	if (c->status == 0 && c->serial)
		note_undone(sharing_detach_block(&c->rm->session, c->addr, c->serial,
				    session_deadline(&c->rm->session), &errinfo),
			c->addr, &errinfo);
}

static void destroy(struct call_job *job)
{
	struct call *c = (struct call *)job;
	struct heap *heap = c->rm->session.heap;

	heap_free(heap, c, sizeof(*c));
}

static const struct call_job_kind alloc_kind = { false, run_alloc, undo_alloc, destroy };
static const struct call_job_kind free_kind = { true, run_free, undo_free, destroy };
static const struct call_job_kind attach_kind = { false, run_attach, undo_attach, destroy };

/* ---- in the queue's order ---- */

static struct call_place *oldest(const struct rmem_queue *q)
{
	return &q->calls[q->calls_reaped & q->mask];
}

uint64_t calls_limit(const struct rmem_queue *q, uint64_t operations)
{
	const uint64_t before = oldest(q)->position - q->reaped;

	return operations < before ? operations : before;
}

bool calls_are_next(const struct rmem_queue *q)
{
	return oldest(q)->position == q->reaped;
}

static bool is_over(const struct call_place *p)
{
	return !p->call || call_thread_is_done(&p->call->job);
}

/* The thread is through with it: what has become of it is kept here. */
static void settle(struct rmem_queue *q, struct call_place *p)
{
	struct call *c = p->call;

	if (!c)
		return;
	call_thread_take(&q->rm->call_thread);
	p->status = c->status;
	p->result = c->status ? 0 : c->result;
	p->reason = c->status ? reasons_add(q->reasons, &c->errinfo) : 0;
	p->call = NULL;
	destroy(&c->job);
}

bool calls_reap(struct rmem_queue *q, struct rmem_completion *out, struct call_failure *failed)
{
	struct call_place *p = oldest(q);

	if (!calls_are_next(q) || !is_over(p))
		return false;
	settle(q, p);
	*out = (struct rmem_completion){ .tag = p->tag,
		.status = p->status,
		.flags = p->reason << CALLS_REASON_SHIFT,
		.result = p->result };
	if (p->status)
		*failed = (struct call_failure){ p->status, p->reason };
	q->calls_reaped++;
	q->ncalls--;
	return true;
}

int calls_wait(struct rmem_queue *q, uint64_t deadline_ns)
{
	const uint64_t soon = clock_boot_ns() + BESIDE_NS;
	const uint64_t until =
		channel_is_busy(q->channel) && soon < deadline_ns ? soon : deadline_ns;
	uint64_t unused;
	int rc = 0;

	if (is_over(oldest(q)) || !deadline_ns)
		return 0;
	(void)!read(q->wake_fd, &unused, sizeof(unused));
	/* Looked at after that: what is over later is told by the descriptor. */
	if (is_over(oldest(q)))
		return 0;
	if (q->channel->pipeline.interruptible)
		rc = handshake_wait_or_signal(q->wake_fd, -1, -1, until);
	else
		(void)handshake_wait(q->wake_fd, -1, -1, until);
	return rc == -EINTR ? rc : 0;
}

void calls_leave(struct rmem_queue *q)
{
	const uint64_t deadline_ns = session_deadline(&q->rm->session);

	for (; q->ncalls; q->calls_reaped++, q->ncalls--) {
		const struct call_place *p = oldest(q);
		struct errinfo errinfo = { "" };

		if (p->call)
			call_thread_leave(&q->rm->call_thread, &p->call->job);
		else if (p->is_alloc && p->status == 0)
			note_undone(alloc_release(q->rm, p->result, NULL, deadline_ns, &errinfo),
				p->result, &errinfo);
	}
}

void calls_destroy(struct rmem_queue *q)
{
	if (q->calls)
		heap_free(q->rm->session.heap, q->calls, (q->mask + 1) * sizeof(*q->calls));
}

/* ---- starting ---- */

/* May one more be started? 0, -EAGAIN, -ENOMEM, or as call_enter(). */
static int enter(struct rmem_queue *q, struct errinfo *errinfo)
{
	int rc = queue_enter(q, errinfo);

	if (rc == 0)
		rc = queue_make_room(q, errinfo);
	if (rc || q->calls)
		return rc;
	q->calls = heap_alloc(q->rm->session.heap, (q->mask + 1) * sizeof(*q->calls));
	return q->calls ? 0 : errinfo_set(errinfo, -ENOMEM, "out of memory");
}

static struct call_place *take_place(struct rmem_queue *q, uint64_t tag)
{
	struct call_place *p = &q->calls[(q->calls_reaped + q->ncalls++) & q->mask];

	*p = (struct call_place){ .position = queue_started(q), .tag = tag };
	queue_set_short_end(q);
	return p;
}

/* It is over: a program that waits for the descriptor is to hear of it. */
static struct call_place *end_at_once(
	struct rmem_queue *q, uint64_t tag, int rc, const struct errinfo *errinfo)
{
	struct call_place *p = take_place(q, tag);

	p->status = rc;
	p->reason = rc ? reasons_add(q->reasons, errinfo) : 0;
	if (q->epoll_fd >= 0 && q->quiet)
		descriptor_wake(q);
	return p;
}

static struct call *make(struct rmem_queue *q, const struct call_job_kind *kind)
{
	struct call *c = heap_alloc(q->rm->session.heap, sizeof(*c));

	if (!c)
		return NULL;
	c->job.kind = kind;
	c->rm = q->rm;
	c->deadline_ns = call_deadline(q->rm);
	return c;
}

/* The session's thread carries it out, or it has failed as the call that waits would have, for want of a thread. */
static int submit(struct rmem_queue *q, struct call *c, uint64_t tag, struct errinfo *errinfo)
{
	int rc = descriptor_make_wake(q, errinfo);

	if (rc) {
		destroy(&c->job);
		return rc;
	}
	c->job.wake_fd = q->wake_fd;
	rc = call_thread_submit(&q->rm->call_thread, &c->job, errinfo);
	if (rc == 0) {
		take_place(q, tag)->call = c;
		return 0;
	}
	destroy(&c->job);
	(void)end_at_once(q, tag, rc, errinfo);
	return 0;
}

static void end_alloc(struct rmem_queue *q, uint64_t tag, rmem_addr_t addr)
{
	struct call_place *p = end_at_once(q, tag, 0, NULL);

	p->is_alloc = true;
	p->result = addr;
}

/* alloc was checked. */
static int start_alloc(
	struct rmem_queue *q, const struct alloc_call *alloc, uint64_t tag, struct errinfo *errinfo)
{
	struct call *c = make(q, &alloc_kind);
	rmem_addr_t addr;

	if (!c)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	c->alloc = *alloc;
	c->alloc.stack = &c->stack;
	c->caller = alloc->caller;
	if (!alloc->size_class || !q->rm->channels.no_sites)
		stack_capture(&c->stack, alloc->caller);
	if (!alloc_here(q->rm, &c->alloc, &addr))
		return submit(q, c, tag, errinfo);
	destroy(&c->job);
	end_alloc(q, tag, addr);
	return 0;
}

RMEM_API __attribute__((noinline)) int rmem_start_alloc(
	struct rmem_queue *q, size_t bytes, const struct rmem_alloc_attr *attr, uint64_t tag)
{
	struct alloc_call call =
		alloc_call_for(bytes, __builtin_return_address(0), __builtin_dwarf_cfa());
	struct errinfo errinfo;
	rmem_addr_t addr;
	int rc = enter(q, &errinfo);

	if (rc == 0 && !attr && alloc_warm(q->rm, bytes, call.caller, call.frame, &addr)) {
		end_alloc(q, tag, addr);
		return 0;
	}
	if (rc == 0)
		rc = alloc_read(q->rm, attr, &call, &errinfo);
	if (rc == 0)
		rc = start_alloc(q, &call, tag, &errinfo);
	return call_done(rc, "rmem_start_alloc", &errinfo);
}

static int start_free(
	struct rmem_queue *q, rmem_addr_t addr, void *caller, uint64_t tag, struct errinfo *errinfo)
{
	struct call *c;
	int rc = 0;

	if (!addr || free_warm(q->rm, addr)) {
		(void)end_at_once(q, tag, 0, errinfo);
		return 0;
	}
	if (alloc_releases_here(q->rm, addr)) {
		rc = alloc_release(q->rm, addr, caller, call_deadline(q->rm), errinfo);
		(void)end_at_once(q, tag, rc, errinfo);
		return 0;
	}
	c = make(q, &free_kind);
	if (!c)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	c->addr = addr;
	c->caller = caller;
	if (alloc_tells_site(q->rm, addr))
		stack_capture(&c->stack, caller);
	return submit(q, c, tag, errinfo);
}

RMEM_API int rmem_start_free(struct rmem_queue *q, rmem_addr_t addr, uint64_t tag)
{
	struct errinfo errinfo;
	int rc = enter(q, &errinfo);

	if (rc == 0)
		rc = start_free(q, addr, __builtin_return_address(0), tag, &errinfo);
	return call_done(rc, "rmem_start_free", &errinfo);
}

RMEM_API int rmem_start_attach(
	struct rmem_queue *q, rmem_addr_t addr, const struct rmem_share_key *key, uint64_t tag)
{
	struct errinfo errinfo;
	struct key_parts parts;
	struct call *c = NULL;
	int rc = enter(q, &errinfo);

	if (rc == 0)
		rc = key_read(key, &parts, &errinfo);
	if (rc == 0)
		c = make(q, &attach_kind);
	if (rc == 0 && !c)
		rc = errinfo_set(&errinfo, -ENOMEM, "out of memory");
	if (c) {
		c->addr = addr;
		c->key = parts;
		rc = submit(q, c, tag, &errinfo);
	}
	return call_done(rc, "rmem_start_attach", &errinfo);
}
