/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/timer.h"

#include <event2/event.h>

#include "tests/sim/host.h"
#include "tests/sim/moment.h"
#include "tests/sim/trace.h"

struct event {
	event_callback_fn call;
	void *arg;
	bool set;
	uint64_t due_ns;
};

static struct event only;

struct event *event_new(
	struct event_base *base, evutil_socket_t fd, short what, event_callback_fn call, void *arg)
{
	(void)base;
	trace_require(fd == -1 && !(what & EV_PERSIST) && !only.call, "more than one timer");
	only = (struct event){ .call = call, .arg = arg };
	return &only;
}

void event_free(struct event *e)
{
	e->call = NULL;
	e->set = false;
}

int event_add(struct event *e, const struct timeval *wait)
{
	host_place();
	e->set = true;
	e->due_ns = moment_ns() + (uint64_t)wait->tv_sec * 1000000000U +
		    (uint64_t)wait->tv_usec * 1000U;
	return 0;
}

int event_pending(const struct event *e, short what, struct timeval *left)
{
	(void)left;
	return e->set ? what : 0;
}

void timer_forget(void)
{
	only = (struct event){ .call = NULL };
}

bool timer_is_set(void)
{
	return only.set;
}

uint64_t timer_due_ns(void)
{
	return only.due_ns;
}

void timer_run(void)
{
	only.set = false;
	only.call(-1, EV_TIMEOUT, only.arg);
}
