/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "ctl/text.h"

static volatile sig_atomic_t last = STATUS_UNCHECKED, printing, interrupted;

/* Asking may take long and has nothing to clean up: this ends it at once. */
static void on_interrupt(int number)
{
	(void)number;
	if (!printing)
		_exit(last);
	interrupted = 1;
}

void watch_hold(void)
{
	printing = 1;
}

/* A report that was printed whole has this status. */
static void release(enum exit_status status)
{
	last = (sig_atomic_t)status;
	printing = 0;
	if (interrupted)
		_exit(last);
}

static bool ends_within(int ms)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	/* events: none; errors are told of all the same */
	return poll(&p, 1, ms) > 0 && (p.revents & (POLLERR | POLLNVAL));
}

bool watch_is_alone(void)
{
	return ends_within(0);
}

void watch_put_time(const struct options *o)
{
	char now[TEXT_TIME_SIZE];

	if (o->watch_ms)
		printf("--- %s\n", text_format_time(clock_real_ns(), now, sizeof(now)));
}

enum exit_status watch_run(
	const struct options *o, enum exit_status (*once)(const struct options *o))
{
	const struct sigaction interrupt = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };

	sigaction(SIGINT, &interrupt, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		const enum exit_status status = once(o);

		if (status == STATUS_UNCHECKED && !watch_is_alone())
			return status;
		if (status == STATUS_UNCHECKED)
			return last == STATUS_UNCHECKED ? STATUS_CLEAN : (enum exit_status)last;
		release(status);
		if (ends_within((int)o->watch_ms))
			return status;
	}
}
