/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/work.h"

#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"

/*
 * A timer that is over at once, not event_active(): an event that activates itself runs again before
 * the loop looks at anything else, and a slice would be no slice.
 */
void work_wake(const struct work *w)
{
	static const struct timeval at_once;

	if (event_add(w->event, &at_once))
		log_error("no memory for a timer: the next tick does the work");
}

void work_wake_at(const struct work *w, uint64_t at_ns)
{
	const uint64_t now_ns = clock_boot_ns();
	struct timeval wait;

	if (event_pending(w->event, EV_TIMEOUT, NULL))
		return;
	if (at_ns <= now_ns) {
		work_wake(w);
		return;
	}
	wait.tv_sec = (time_t)((at_ns - now_ns) / NSEC_PER_SEC);
	wait.tv_usec = (suseconds_t)((at_ns - now_ns) % NSEC_PER_SEC / NSEC_PER_USEC + 1);
	(void)event_add(w->event, &wait); /* else the next tick does the work */
}
