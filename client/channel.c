/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/attach.h"
#include "client/explain.h"
#include "client/lookup.h"
#include "client/poison.h"
#include "client/recovery.h"
#include "common/clock.h"

struct channel *channel_create(struct session *s)
{
	struct channel *ch = aligned_alloc(64, (sizeof(*ch) + 63) / 64 * 64);

	if (!ch)
		return NULL;
	memset(ch, 0, sizeof(*ch));
	ch->session = s;
	ch->vitals = s->vitals;
	ch->number = atomic_fetch_add(&s->channels, 1) + 1;
	ch->buffers_version = UINT64_MAX;
	ch->epoch = UINT64_MAX;
	ch->until_ns = UINT64_MAX;
	ch->pipeline.buffers = &ch->buffers;
	ch->pipeline.key = lookup_known_key;
	ch->pipeline.ctx = ch;
	ch->shortcut.wr.sg_list = &ch->shortcut.sge;
	ch->shortcut.wr.num_sge = 1;
	if (pipeline_init(&ch->pipeline)) {
		channel_destroy(ch);
		return NULL;
	}
	return ch;
}

void channel_abandon(struct channel *ch)
{
	bounce_destroy(&ch->pipeline.bounce);
	keys_destroy(&ch->keys);
	free(ch->buffers.items); /* what is registered is the session's */
	free(ch);
}

void channel_destroy(struct channel *ch)
{
	if (!ch)
		return;
	pipeline_detach(&ch->pipeline);
	pipeline_destroy(&ch->pipeline);
	channel_abandon(ch);
}

int channel_connect(struct channel *ch, struct why *why)
{
	ch->fences = atomic_load(&ch->session->tenure.fences);
	lookup_refresh(ch);
	return channel_is_usable(ch) ? 0 : recovery_run(ch, true, clock_boot_ns(), why);
}

/* ---- operations ---- */

static int check_local(const struct operation *op, struct why *why)
{
	const struct plan *p = &op->left;
	const struct iovec old = { op->old, op->old ? sizeof(*op->old) : 0 };
	const struct iovec *pieces = operation_is_copy(op) ? p->local : &old;
	int n = operation_is_copy(op) ? p->nlocal : 1;

	for (int i = 0; i < n; i++) {
		const void *bad = poison_find(pieces[i].iov_base, pieces[i].iov_len);

		if (bad)
			return explain_poison(&pieces[i], bad, why);
	}
	return 0;
}

int channel_start(struct channel *ch, struct operation *op, struct why *why)
{
	uint64_t began = ch->began_ns ? ch->began_ns : clock_boot_ns();
	bool recovered = false;
	int rc = check_local(op, why);

	/* What the shortcut could not finish may only go on in the allocation that it was begun in. */
	if (ch->began_ns)
		op->as_of = ch->began_as_of;
	if (ch->began_ns && rc == 0)
		*why = ch->shortcut_failure;
	/* What the shortcut could not finish was begun before the connection broke: as of the join. */
	if (!ch->pipeline.first && !ch->began_ns)
		ch->fences =
			atomic_load_explicit(&ch->session->tenure.fences, memory_order_relaxed);
	ch->began_ns = 0;
	while (rc == 0) {
		lookup_refresh(ch);
		rc = attach_check(ch, op, why);
		if (rc)
			break;
		rc = channel_is_usable(ch) ? attach_all(ch, op, why) : -ECONNRESET;
		if (rc == 0 && channel_is_usable(ch)) {
			pipeline_add(&ch->pipeline, op);
			pipeline_build(&ch->pipeline, why);
			return 0;
		}
		if (rc && rc != -ECONNRESET)
			break;
		if (recovered && clock_boot_ns() > began + ch->session->timeout_ns)
			return why_set(why, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		rc = recovery_run(ch, true, began, why);
		recovered = true;
	}
	return rc;
}

#define NOT_LEASED 1

/* Hand over what was built, but never past the lease: the memory may be somebody else's by then. */
static int post(struct channel *ch, struct why *why)
{
	if (channel_unposted(ch) == 0)
		return 0;
	return session_lease_good(ch->session) ? pipeline_post(&ch->pipeline, why) : NOT_LEASED;
}

void channel_post(struct channel *ch, struct why *why)
{
	/* If it does not go, the thread that waits for the operations finds out. */
	if (ch->pipeline.ep)
		(void)post(ch, why);
}

/* Nothing will help: all that is left fails. */
static void give_up(struct channel *ch, int rc)
{
	pipeline_detach(&ch->pipeline);
	pipeline_fail(&ch->pipeline, rc);
}

void channel_advance(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	const struct operation *first = ch->pipeline.first;
	uint64_t began = clock_boot_ns();
	int rc = 0;

	while (first && ch->pipeline.first == first) {
		lookup_refresh(ch);
		if ((rc || !channel_is_connected(ch)) && recovery_run(ch, false, began, why))
			return;
		pipeline_build(&ch->pipeline, why);
		rc = post(ch, why);
		if (rc == 0 && !pipeline_is_idle(&ch->pipeline))
			rc = deadline_ns ? pipeline_wait(&ch->pipeline, deadline_ns)
					 : pipeline_poll(&ch->pipeline, began);
		if (rc == -EPERM)
			return give_up(ch, rc);
		if (rc == NOT_LEASED && clock_boot_ns() > began + ch->session->timeout_ns)
			return give_up(ch, why_set(why, -ETIMEDOUT,
						   "the lease ends faster than rmemd answers"));
		if (rc < 0)
			recovery_note_failure(ch, why);
		else if (rc == 0 && deadline_ns != PIPELINE_FOREVER &&
			 clock_boot_ns() >= deadline_ns)
			break;
	}
	/* What has become possible, while the caller looks at what has completed. */
	if (rc == 0 && ch->pipeline.building && channel_is_connected(ch)) {
		pipeline_build(&ch->pipeline, why);
		channel_post(ch, why);
	}
}

int channel_run(struct channel *ch, struct operation *op, struct why *why)
{
	int rc = channel_start(ch, op, why);

	while (rc == 0 && channel_is_busy(ch))
		channel_advance(ch, PIPELINE_FOREVER, why);
	return rc ? rc : op->status;
}
