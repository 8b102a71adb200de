/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/clock.h"
#include "server/base/thread.h"

#define WATCH_NS (NSEC_PER_SEC / 10)

struct state {
	const struct crew *crew;
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned running; /* under the lock */
};

struct member {
	struct state *state;
	void *item;
	pthread_t thread;
	bool has_thread;
	int err;
	struct errinfo errinfo;
};

static void *run(void *arg)
{
	struct member *m = arg;

	m->err = m->state->crew->work(m->item, &m->errinfo);
	pthread_mutex_lock(&m->state->lock);
	m->state->running--;
	pthread_cond_signal(&m->state->done);
	pthread_mutex_unlock(&m->state->lock);
	return NULL;
}

static void start(struct state *s, struct member *m, void *item)
{
	*m = (struct member){ .state = s, .item = item };
	pthread_mutex_lock(&s->lock);
	s->running++;
	pthread_mutex_unlock(&s->lock);
	m->has_thread = thread_start(&m->thread, run, m) == 0;
	if (!m->has_thread)
		run(m);
}

static void watch(struct state *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->running) {
		const uint64_t at_ns = clock_read_ns(CLOCK_MONOTONIC) + WATCH_NS;
		const struct timespec at = { (time_t)(at_ns / NSEC_PER_SEC),
			(long)(at_ns % NSEC_PER_SEC) };

		pthread_cond_timedwait(&s->done, &s->lock, &at);
		pthread_mutex_unlock(&s->lock);
		s->crew->watch(s->crew->arg);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
}

static int judge(const struct member *members, unsigned n, struct errinfo *errinfo)
{
	const struct member *worst = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (members[i].err && (!worst || worst->err == -ECANCELED))
			worst = &members[i];
	}
	if (!worst)
		return 0;
	*errinfo = worst->errinfo;
	return worst->err;
}

int crew_run(const struct crew *crew, void *const *items, unsigned n, struct errinfo *errinfo)
{
	struct state s = { .crew = crew, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct member *members = calloc(n ? n : 1, sizeof(*members));
	pthread_condattr_t attr;
	int err;

	if (!members)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s.done, &attr);
	pthread_condattr_destroy(&attr);
	for (unsigned i = 0; i < n; i++)
		start(&s, &members[i], items[i]);
	watch(&s);
	for (unsigned i = 0; i < n; i++) {
		if (members[i].has_thread)
			pthread_join(members[i].thread, NULL);
	}
	pthread_cond_destroy(&s.done);
	err = judge(members, n, errinfo);
	free(members);
	return err;
}
