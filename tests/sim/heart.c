/* SPDX-License-Identifier: BSD-3-Clause */
/* In place of server/lease/heart.c and its thread: the simulation says when the process runs. */
#include "server/lease/heart.h"

#include <errno.h>
#include <stdlib.h>

#include "server/lease/lease.h"
#include "tests/sim/beat.h"
#include "tests/sim/moment.h"

struct heart {
	struct pulse pulse;
};

static struct heart only;

int heart_start(struct heart **out, uint64_t period_ns)
{
	pulse_start(&only.pulse, period_ns, moment_ns());
	*out = &only;
	return 0;
}

void heart_stop(struct heart *h)
{
	(void)h;
}

uint64_t heart_ran_ns(struct heart *h, uint64_t now_ns)
{
	return pulse_ran(&h->pulse, now_ns);
}

void beat(void)
{
	pulse_beat(&only.pulse, moment_ns());
}
