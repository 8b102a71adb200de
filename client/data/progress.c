/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/progress.h"

#include <errno.h>

#include "client/base/poison.h"
#include "client/data/explain.h"
#include "client/data/keys.h"
#include "client/data/reconnect.h"
#include "client/data/work.h"
#include "common/clock.h"
#include "common/log.h"

static int check_local(const struct operation *op, struct errinfo *errinfo)
{
	const struct plan *p = &op->left;
	const struct iovec old = { op->old, op->old ? sizeof(*op->old) : 0 };
	const struct iovec *pieces = operation_is_copy(op) ? p->local : &old;
	int n = operation_is_copy(op) ? p->nlocal : 1;

	for (int i = 0; i < n; i++) {
		const void *bad = poison_find(pieces[i].iov_base, pieces[i].iov_len);

		if (bad)
			return explain_poison(&pieces[i], bad, errinfo);
	}
	return 0;
}

int progress_start(struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	uint64_t began = ch->began_ns ? ch->began_ns : clock_boot_ns();
	bool recovered = false;
	int rc = check_local(op, errinfo);

	/* What fastpath_copy() could not finish may only go on in the allocation that it was begun in. */
	if (ch->began_ns)
		op->as_of = ch->began_as_of;
	if (ch->began_ns && rc == 0)
		*errinfo = ch->fastpath_failure;
	/* What it could not finish was begun before the connection broke: as of the join. */
	if (!ch->pipeline.first && !ch->began_ns)
		ch->fences = atomic_load_explicit(
			&ch->session->lease_epoch.fences, memory_order_relaxed);
	ch->began_ns = 0;
	while (rc == 0) {
		keys_refresh(ch);
		rc = keys_check(ch, op, errinfo);
		if (rc)
			break;
		ch->until_ns = op->timed ? op->deadline_ns : UINT64_MAX;
		rc = channel_is_usable(ch) ? keys_fetch(ch, op, errinfo) : -ECONNRESET;
		ch->until_ns = UINT64_MAX;
		if (rc == 0 && channel_is_usable(ch)) {
			pipeline_add(&ch->pipeline, op);
			work_build_all(ch, errinfo);
			return 0;
		}
		if (rc && rc != -ECONNRESET)
			break;
		if (recovered && clock_boot_ns() > began + ch->session->timeout_ns)
			return errinfo_set(
				errinfo, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		rc = reconnect_run(
			ch, op->timed ? op->deadline_ns : PIPELINE_FOREVER, began, errinfo);
		recovered = true;
	}
	if (rc == -ECONNRESET && op->timed && clock_boot_ns() >= op->deadline_ns)
		rc = -ETIMEDOUT;
	return rc;
}

#define NOT_LEASED 1

/* Hand over what was built, but never past the lease: the memory may be somebody else's by then. */
static int post(struct channel *ch, struct errinfo *errinfo)
{
	if (channel_unposted(ch) == 0)
		return 0;
	return session_lease_good(ch->session) ? pipeline_post(&ch->pipeline, errinfo) : NOT_LEASED;
}

void progress_post(struct channel *ch, struct errinfo *errinfo)
{
	/* If it does not go, the thread that waits for the operations finds out. */
	if (ch->pipeline.ep)
		(void)post(ch, errinfo);
}

/* Nothing will help: all that is left fails. */
static void give_up(struct channel *ch, int rc, const struct errinfo *errinfo)
{
	pipeline_detach(&ch->pipeline);
	pipeline_fail(&ch->pipeline, rc, errinfo);
}

/* Post what was built, and take completions in. 0, -ECONNRESET, -EPERM, -EINTR, or NOT_LEASED. */
static int exchange(
	struct channel *ch, uint64_t deadline_ns, uint64_t began_ns, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	int rc = post(ch, errinfo);

	if (rc || pipeline_is_idle(p))
		return rc;
	if (deadline_ns == 0)
		return pipeline_poll(p, began_ns);
	return pipeline_wait(
		p, deadline_ns < p->deadline_ns ? deadline_ns : p->deadline_ns, p->interruptible);
}

/* Is the time of an operation over? */
static bool expire(struct channel *ch, struct errinfo *errinfo)
{
	if (ch->pipeline.deadline_ns == PIPELINE_FOREVER ||
		!pipeline_expire(&ch->pipeline, clock_boot_ns(), errinfo))
		return false;
	log_info("%s", errinfo->text);
	return true;
}

int progress_advance(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const struct operation *first = ch->pipeline.first;
	uint64_t began = clock_boot_ns();
	int rc = 0;

	while (first && ch->pipeline.first == first) {
		keys_refresh(ch);
		if ((rc || !channel_is_connected(ch)) && reconnect_run(ch, 0, began, errinfo))
			return 0;
		work_build_all(ch, errinfo);
		rc = exchange(ch, deadline_ns, began, errinfo);
		if (rc == NOT_LEASED && clock_boot_ns() > began + ch->session->timeout_ns)
			rc = errinfo_set(
				errinfo, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		if (rc == -EPERM || rc == -ETIMEDOUT) {
			give_up(ch, rc, errinfo);
			return 0;
		}
		if (rc == -EINTR) { /* with signals all the time, this is all that looks at times */
			(void)expire(ch, errinfo);
			return rc;
		}
		if (rc < 0)
			channel_note_failure(ch, errinfo);
		else if (!expire(ch, errinfo) && rc == 0 && deadline_ns != PIPELINE_FOREVER &&
			 clock_boot_ns() >= deadline_ns)
			break;
	}
	/* What has become possible, while the caller looks at what has completed. */
	if (rc == 0 && ch->pipeline.building && channel_is_connected(ch)) {
		work_build_all(ch, errinfo);
		progress_post(ch, errinfo);
	}
	return 0;
}

int progress_run(struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	int rc = progress_start(ch, op, errinfo);

	pipeline_drop_carried(&ch->pipeline);
	while (rc == 0 && channel_is_busy(ch))
		progress_advance(ch, PIPELINE_FOREVER, errinfo);
	return rc ? rc : op->status;
}
