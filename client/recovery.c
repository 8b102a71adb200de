/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/recovery.h"

#include <errno.h>

#include "client/attach.h"
#include "client/explain.h"
#include "client/join.h"
#include "client/lookup.h"
#include "client/request.h"
#include "common/clock.h"
#include "common/log.h"

/* Coming back gets at least this long, however much of the time-out a dead connection has eaten. */
#define RECOVER_MIN_NS NSEC_PER_SEC
#define FAILURES_MAX 2 /* connections that one operation may break */

/* What the first request that failed says; if none was on its way, the first operation that waits. */
static void explain_break(const struct channel *ch, struct why *why)
{
	struct operation *first = ch->pipeline.first;
	struct failure f = ch->pipeline.failure;
	struct plan_segment seg;

	if (!f.op && first && operation_is_unplanned(first))
		f = (struct failure){
			.op = first, .remote = first->one_remote.base, .bytes = first->left.left
		};
	else if (!f.op && first && operation_is_copy(first) && plan_peek(&first->left, &seg))
		f = (struct failure){ .op = first, .remote = seg.remote, .bytes = seg.len };
	else if (!f.op && first && !operation_is_copy(first))
		f = (struct failure){ .op = first, .remote = first->addr, .bytes = 8 };
	explain_failure(&f, ch->session, endpoint_peer(ch->pipeline.ep), why);
	log_info("%s", why->text);
}

/* Something broke: say what, and give up the operation if that happens to it again and again. */
void recovery_note_failure(struct channel *ch, struct why *why)
{
	const struct failure *f = &ch->pipeline.failure;
	struct operation *op = f->op ? f->op : ch->pipeline.first;

	explain_break(ch, why);
	if (!op)
		return;
	op->failures += !f->op;
	if (f->status == IBV_WC_REM_INV_REQ_ERR && !operation_is_copy(op))
		op->status = -EOPNOTSUPP;
	else if (op->failures >= FAILURES_MAX)
		op->status = -ECONNRESET;
}

/* Ask whether the lease is good, or get a new one. */
static int prove_lease(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	session_unlock(s);
	return rc;
}

/*
 * On the new connection every operation that is left needs its keys again. If it is still the old one, what
 * is built goes on with those it has, and may complete here: it must not be judged any more.
 */
static int reattach(struct channel *ch, struct why *why)
{
	for (struct operation *op = ch->pipeline.first; op; op = op->following) {
		int rc = op->status || operation_is_built(op) ? 0 : attach_all(ch, op, why);

		if (rc == -ECONNRESET)
			return rc;
		if (rc)
			op->status = rc;
	}
	return 0;
}

/* Is there anything left that another connection could do? */
static bool is_worth_it(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && op->status)
		op = op->following;
	return op;
}

/* Has any of them come to its end on the way? */
static bool has_failed(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && !op->status)
		op = op->following;
	return op != NULL;
}

/* Connected, lease good, and a key for every piece; trying until the deadline. */
static int come_back(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	int rc;

	do {
		if (channel_is_connected(ch)) {
			rc = prove_lease(ch->session, deadline_ns, why);
		} else {
			pipeline_detach(&ch->pipeline);
			session_wake_keeper(ch->session);
			rc = join_session(ch, deadline_ns, why);
		}
		if (rc)
			break;
		lookup_refresh(ch);
		rc = channel_is_connected(ch) ? reattach(ch, why) : -ECONNRESET;
	} while (rc == -ECONNRESET && clock_boot_ns() < deadline_ns);
	return rc;
}

/* It was broken from elsewhere, while operations were on their way: the first of them tells what. */
static void flush(struct channel *ch, struct why *why)
{
	struct pipeline *p = &ch->pipeline;

	if (!p->ep || (pipeline_is_idle(p) && (p->failure.op || !p->first)))
		return; /* said already, or nothing to say */
	while (!pipeline_is_idle(p) && pipeline_wait(p, PIPELINE_FOREVER) == 0)
		;
	explain_break(ch, why);
}

/* After what broke the connection, if that is known: why there is no other. */
static void add_trouble(struct why *why, const struct why *trouble)
{
	const struct why failure = *why;

	if (failure.text[0])
		why_fill(why, "%.350s; then: %s", failure.text, trouble->text);
	else
		*why = *trouble;
}

/*
 * The connection broke, or there is none, or the lease may be over: get what the operations need to go on,
 * or let them fail. wanted: whatever becomes of them, somebody needs the connection.
 */
int recovery_run(struct channel *ch, bool wanted, uint64_t began_ns, struct why *why)
{
	/* A little earlier than the caller's limit: within that he is to know. */
	uint64_t deadline = began_ns + ch->session->timeout_ns / 8 * 7;
	uint64_t least = clock_boot_ns() + RECOVER_MIN_NS;
	uint64_t closing = atomic_load(&ch->session->closing_ns);
	struct why trouble = { "" };
	int rc = -ECONNRESET;

	if (deadline < least)
		deadline = least;
	if (deadline > closing)
		deadline = closing;
	if (!channel_is_connected(ch)) {
		flush(ch, why);
		pipeline_detach(&ch->pipeline);
	}
	if ((wanted || is_worth_it(ch)) && clock_boot_ns() < deadline) {
		ch->until_ns = deadline;
		rc = come_back(ch, deadline, &trouble);
		ch->until_ns = UINT64_MAX;
		/* What went wrong on the way does not matter to those who got there. */
		if ((rc || has_failed(ch)) && trouble.text[0])
			add_trouble(why, &trouble);
		if (rc == 0)
			return 0;
	}
	pipeline_detach(&ch->pipeline);
	pipeline_fail(&ch->pipeline, rc);
	return rc;
}
