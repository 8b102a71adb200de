/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/reaper.h"

#include <errno.h>
#include <event2/event.h>

#include "server/base/wait.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/grant/teardown.h"
#include "server/lease/reclaim.h"
#include "server/lease/relief.h"
#include "server/lease/session.h"

/* One slice: about a millisecond of work natively, so that no client waits long for its turn. */
#define REVOKES_PER_SLICE 64
#define WIPE_BYTES_PER_SLICE (8ULL << 20)

/* Forget every session that is over and holds nothing. Its last block may have been wiped after its goodbye, just now. */
static void forget_sessions(struct leases *l)
{
	uint32_t cursor = 0, slot;

	while (sessions_next(l->records, &cursor, &slot))
		session_forget_if_done(&l->sessions[slot]);
}

static void slice(evutil_socket_t fd, short what, void *arg)
{
	struct reaper *r = arg;
	unsigned revokes = REVOKES_PER_SLICE, ends = REVOKES_PER_SLICE;
	bool more = teardown_some(r->net, &revokes);

	(void)fd;
	(void)what;
	more |= reclaim_some(r->reclaim);
	more |= access_end_some(r->access, &ends);
	more |= pool_wipe(r->pool, WIPE_BYTES_PER_SLICE);
	if (!more)
		forget_sessions(r->leases);
	if (r->relief->room) {
		relief_survey(r->relief);
		wait_finish(&r->relief->room, 0);
	}
	if (more)
		work_wake(r->work);
	else if (r->relief->room)
		work_wake_at(r->work, relief_next_ns(r->relief));
}

int reaper_start(struct reaper *r, struct event_base *base)
{
	r->work->event = evtimer_new(base, slice, r);
	return r->work->event ? 0 : -ENOMEM;
}

void reaper_stop(struct reaper *r)
{
	if (r->work && r->work->event)
		event_free(r->work->event);
	if (r->work)
		r->work->event = NULL;
}

void reaper_tick(struct reaper *r, uint64_t now_ns)
{
	/* A slice does so only when no work is left, which clients that free all the time can prevent. */
	forget_sessions(r->leases);
	teardown_retry(r->net);
	if (r->relief->room)
		work_wake(r->work);
	reclaim_tick(r->reclaim, now_ns);
}
