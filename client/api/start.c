/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that start operations on a queue. */
#include <errno.h>

#include "client/api/descriptor.h"
#include "client/api/queue.h"
#include "client/data/fastpath.h"
#include "client/data/keys.h"
#include "client/data/progress.h"
#include "client/space/call.h"
#include "client/space/checking.h"
#include "client/space/exact.h"
#include "client/space/op.h"

/* What has completed at the head, and is not to be reported, leaves. */
static void drop_silent(struct rmem_queue *q)
{
	for (uint64_t done = queue_completed(q); done; done--) {
		const struct operation *op = &q->operations[q->reaped & q->mask];

		if (!op->is_journal && (!op->silent || op->status))
			return;
		q->reaped++;
	}
}

/* Operations of which the program hears nothing may fill the queue: those that have completed leave. */
static void make_room(struct rmem_queue *q)
{
	struct errinfo errinfo = { "" };

	drop_silent(q);
	if (queue_outstanding(q) != q->depth || !q->operations[q->reaped & q->mask].silent)
		return;
	if (channel_is_busy(q->channel))
		progress_advance(q->channel, 0, &errinfo);
	drop_silent(q);
}

int queue_make_room(struct rmem_queue *q, struct errinfo *errinfo)
{
	if (queue_outstanding(q) == q->depth)
		make_room(q);
	if (queue_outstanding(q) < q->depth)
		return 0;
	return errinfo_set(errinfo, -EAGAIN,
		"%u operations have been started: reap some, or create the queue with a "
		"greater depth",
		(unsigned)q->depth);
}

static int take_place(struct rmem_queue *q, enum operation_kind kind, uint64_t tag,
	struct operation **out, struct errinfo *errinfo)
{
	const int rc = queue_make_room(q, errinfo);

	if (rc)
		return rc;
	*out = &q->operations[queue_started(q) & q->mask];
	**out = (struct operation){ .kind = kind,
		.fence = q->fence,
		.tag = tag,
		.as_of = keys_as_of(q->channel->session) };
	return 0;
}

static void started(struct rmem_queue *q)
{
	struct errinfo errinfo;

	q->fence = false;
	queue_set_short_end(q);
	if (channel_unposted(q->channel) >= PIPELINE_BATCH)
		progress_post(q->channel, &errinfo);
}

static int launch(struct rmem_queue *q, struct operation *op, struct errinfo *errinfo)
{
	const bool announce = descriptor_announce(q);
	const uint64_t before = descriptor_waits(q);
	const int rc = progress_start(q->channel, op, errinfo);

	if (rc == 0)
		started(q);
	if (announce)
		descriptor_announced(q, before);
	return rc;
}

static int start(struct rmem_queue *q, struct operation *op, int rc, const char *call,
	struct errinfo *errinfo)
{
	if (rc == 0) {
		rc = launch(q, op, errinfo);
		checking_result(q->rm, op, rc);
	}
	return call_done(rc, call, errinfo);
}

/* An operation that is to be started. */
struct wish {
	enum operation_kind kind;
	uint64_t tag;
	const struct rmem_iovec *pieces; /* that it will write to, if it writes */
	int n;
	int timeout_ms; /* its own; 0: none */
};

static int start_record(struct rmem_queue *q, const struct wish *w, rmem_addr_t addr,
	uint32_t *unit, struct errinfo *errinfo)
{
	struct operation *op;
	int rc = take_place(q, OPERATION_WRITE, 0, &op, errinfo);

	if (rc)
		return rc;
	op_set_timeout(op, w->timeout_ms);
	rc = exact_plan(q->channel->session, addr, op, errinfo);
	if (rc)
		return rc == EXACT_NEEDLESS ? 0 : rc;
	if (!*unit)
		*unit = pipeline_next_unit(&q->channel->pipeline);
	op->unit = *unit;
	op->silent = true;
	return launch(q, op, errinfo);
}

/*
 * Records go in front of what writes to their objects: operations of which the program hears nothing, and which have
 * the time of what they are in front of. Returns their unit in *out, or 0.
 */
static int start_records(
	struct rmem_queue *q, const struct wish *w, uint32_t *out, struct errinfo *errinfo)
{
	struct session *s = q->channel->session;
	int rc = 0;

	*out = 0;
	/* What is wrong with the pieces is said when the operation is planned. */
	if (!s->exact || w->kind == OPERATION_READ || !w->pieces || w->n > PLAN_PIECES_MAX)
		return 0;
	for (int i = 0; i < w->n && rc == 0; i++) {
		if (!exact_needs(s, w->pieces[i].base))
			continue;
		rc = start_record(q, w, w->pieces[i].base, out, errinfo);
	}
	return rc;
}

/* Room for one more; NULL, and *rc. */
static struct operation *begin(
	struct rmem_queue *q, const struct wish *w, int *rc, struct errinfo *errinfo)
{
	struct operation *op = NULL;
	uint32_t unit = 0;

	errinfo->text[0] = '\0';
	*rc = q ? call_enter(q->rm, errinfo) : errinfo_set(errinfo, -EINVAL, "the queue is NULL");
	if (*rc == 0)
		*rc = start_records(q, w, &unit, errinfo);
	if (*rc == 0)
		*rc = take_place(q, w->kind, w->tag, &op, errinfo);
	if (*rc)
		return NULL;
	op->unit = unit;
	return op;
}

static __attribute__((noinline)) void post_batch(struct channel *ch)
{
	struct errinfo errinfo;

	if (channel_unposted(ch) >= PIPELINE_BATCH)
		progress_post(ch, &errinfo);
}

/* In a child after fork() the channel is not as it was, which fastpath_start() sees. */
static inline __attribute__((always_inline)) bool start_short(struct rmem_queue *q,
	enum operation_kind kind, void *local, rmem_addr_t remote, size_t bytes, uint64_t tag,
	bool silent)
{
	struct channel *ch = q->channel;

	if (queue_started(q) >= q->short_end ||
		!fastpath_start(ch, &q->operations[queue_started(q) & q->mask], kind, local, remote,
			bytes, tag, silent))
		return false;
	if (ch->pipeline.built >= ch->pipeline.short_end)
		post_batch(ch);
	return true;
}

static __attribute__((noinline)) int start_long(struct rmem_queue *q, enum operation_kind kind,
	void *local, rmem_addr_t remote, size_t bytes, uint64_t tag, const char *call)
{
	const struct rmem_iovec piece = { remote, bytes };
	struct errinfo errinfo;
	int rc;
	struct operation *op =
		begin(q, &(struct wish){ .kind = kind, .tag = tag, .pieces = &piece, .n = 1 }, &rc,
			&errinfo);

	if (op)
		rc = operation_plan_one(op, local, remote, bytes, &errinfo);
	return start(q, op, rc, call, &errinfo);
}

RMEM_API int rmem_start_read(
	struct rmem_queue *q, void *dst, rmem_addr_t src, size_t bytes, uint64_t tag)
{
	if (q && start_short(q, OPERATION_READ, dst, src, bytes, tag, false))
		return 0;
	return start_long(q, OPERATION_READ, dst, src, bytes, tag, "rmem_start_read");
}

RMEM_API int rmem_start_write(
	struct rmem_queue *q, rmem_addr_t dst, const void *src, size_t bytes, uint64_t tag)
{
	void *local = (void *)(uintptr_t)src; /* it is only read */

	if (q && start_short(q, OPERATION_WRITE, local, dst, bytes, tag, false))
		return 0;
	return start_long(q, OPERATION_WRITE, local, dst, bytes, tag, "rmem_start_write");
}

/* A piece of which nothing is asked that takes the long way. */
static bool start_short_op(struct rmem_queue *q, const struct rmem_op *o)
{
	return o->kind <= RMEM_OP_WRITE && !(o->flags & ~RMEM_OP_SILENT) && !o->timeout_ms &&
	       o->nlocal == 1 && o->nremote == 1 && o->local && o->remote &&
	       o->local->iov_len == o->remote->len &&
	       start_short(q, op_kind(o), o->local->iov_base, o->remote->base, o->remote->len,
		       o->tag, o->flags & RMEM_OP_SILENT);
}

RMEM_API int rmem_start(struct rmem_queue *q, const struct rmem_op *from)
{
	struct operation *op = NULL;
	struct errinfo errinfo = { "" };
	struct rmem_op mine = RMEM_OP_INIT;
	int rc = op_read(from, RMEM_OP_SILENT | RMEM_OP_FENCED | RMEM_OP_ONCE, &mine, &errinfo);
	const struct rmem_iovec word = { mine.addr, sizeof(uint64_t) };
	const bool is_copy = mine.kind <= RMEM_OP_WRITE;
	const struct wish wish = { .kind = op_kind(&mine),
		.tag = mine.tag,
		.pieces = is_copy ? mine.remote : &word,
		.n = is_copy ? mine.nremote : 1,
		.timeout_ms = mine.timeout_ms };

	if (rc == 0 && q && start_short_op(q, &mine))
		return 0;
	if (rc == 0)
		op = begin(q, &wish, &rc, &errinfo);
	if (op) {
		op->fence |= (mine.flags & RMEM_OP_FENCED) != 0;
		rc = op_plan(&mine, op, &errinfo);
	}
	return start(q, op, rc, "rmem_start", &errinfo);
}

static int start_lists(struct rmem_queue *q, enum operation_kind kind, const struct iovec *local,
	int nlocal, const struct rmem_iovec *remote, int nremote, uint64_t tag, const char *call)
{
	struct errinfo errinfo;
	int rc;
	struct operation *op =
		begin(q, &(struct wish){ .kind = kind, .tag = tag, .pieces = remote, .n = nremote },
			&rc, &errinfo);

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
	const struct rmem_iovec piece = { word->addr, sizeof(uint64_t) };
	struct errinfo errinfo;
	int rc;
	struct operation *op = begin(q,
		&(struct wish){ .kind = word->kind, .tag = word->tag, .pieces = &piece, .n = 1 },
		&rc, &errinfo);

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

RMEM_API int rmem_fence(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = queue_enter(q, &errinfo);

	if (rc == 0) {
		q->fence = true;
		queue_set_short_end(q);
	}
	return call_done(rc, "rmem_fence", &errinfo);
}

RMEM_API int rmem_submit(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = queue_enter(q, &errinfo);

	if (rc == 0)
		progress_post(q->channel, &errinfo);
	return call_done(rc, "rmem_submit", &errinfo);
}
