/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/heart.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/clock.h"
#include "server/base/thread.h"
#include "server/lease/lease.h"

struct heart {
	pthread_t thread;
	pthread_mutex_t lock; /* of the fields below; held only to read or update them */
	pthread_cond_t ends;
	bool ending;
	struct pulse pulse;
};

static struct timespec after(uint64_t ns)
{
	const uint64_t at_ns = clock_read_ns(CLOCK_MONOTONIC) + ns;

	return (struct timespec){ .tv_sec = (time_t)(at_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(at_ns % NSEC_PER_SEC) };
}

static void *beat(void *arg)
{
	struct heart *h = arg;

	pthread_mutex_lock(&h->lock);
	while (!h->ending) {
		const struct timespec next = after(h->pulse.period_ns);

		pthread_cond_timedwait(&h->ends, &h->lock, &next);
		pulse_beat(&h->pulse, clock_boot_ns());
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

int heart_start(struct heart **out, uint64_t period_ns)
{
	struct heart *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;
	int err;

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->ends, &attr);
	pthread_condattr_destroy(&attr);
	pulse_start(&h->pulse, period_ns, clock_boot_ns());
	err = thread_start(&h->thread, beat, h);
	if (err) {
		free(h);
		return err;
	}
	*out = h;
	return 0;
}

void heart_stop(struct heart *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_cond_signal(&h->ends);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->ends);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

uint64_t heart_ran_ns(struct heart *h, uint64_t now_ns)
{
	uint64_t ran_ns;

	pthread_mutex_lock(&h->lock);
	ran_ns = pulse_ran(&h->pulse, now_ns);
	pthread_mutex_unlock(&h->lock);
	return ran_ns;
}
