/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/reaper.h"

#include <errno.h>
#include <event2/event.h>

#include "common/clock.h"
#include "server/base/wait.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/grant/teardown.h"
#include "server/lease/reclaim.h"
#include "server/memory/pool.h"

/* One slice: about a millisecond natively, so that no client waits long. */
#define REVOKES_PER_SLICE 64
#define RETRY_NS (20 * NSEC_PER_MSEC) /* of requests that wait for room while no work is left */

static void slice(evutil_socket_t fd, short what, void *arg)
{
	struct reaper *r = arg;
	unsigned revokes = REVOKES_PER_SLICE, ends = REVOKES_PER_SLICE;
	bool more = teardown_some(r->net, &revokes);

	(void)fd;
	(void)what;
	more |= reclaim_some(r->reclaim);
	more |= access_end_some(r->access, &ends);
	more |= pool_wipe(r->pool);
	wait_finish_oldest(&r->work->turns, 0);
	more |= r->work->turns != NULL;
	reclaim_retry(r->reclaim);
	if (more)
		work_wake(r->work);
	else if (r->reclaim->room)
		work_wake_at(r->work, clock_boot_ns() + RETRY_NS);
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
	teardown_retry(r->net);
	/* In case work_wake() could not set its timer. */
	if (r->reclaim->room || r->reclaim->taking || r->pool->nquarantined || r->work->turns)
		work_wake(r->work);
	reclaim_tick(r->reclaim, now_ns);
}
