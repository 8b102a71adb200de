/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/grace.h"

#include <utlist.h>

void grace_init(struct grace *g)
{
	*g = (struct grace){ .members = NULL };
	pthread_mutex_init(&g->lock, NULL);
}

void grace_destroy(struct grace *g)
{
	pthread_mutex_destroy(&g->lock);
}

void grace_join(struct grace *g, struct grace_member *m)
{
	pthread_mutex_lock(&g->lock);
	DL_APPEND(g->members, m);
	pthread_mutex_unlock(&g->lock);
}

/* How many have ended, or are as good as that. */
static uint64_t ended_on(const struct grace_member *m)
{
	const uint64_t ended = atomic_load_explicit(&m->ended, memory_order_acquire);

	return ended > m->settled ? ended : m->settled;
}

void grace_leave(struct grace *g, struct grace_member *m, bool settled)
{
	pthread_mutex_lock(&g->lock);
	DL_DELETE(g->members, m);
	if (!settled && ended_on(m) < atomic_load_explicit(&m->begun, memory_order_relaxed))
		g->lost = true;
	pthread_mutex_unlock(&g->lock);
}

void grace_lose(struct grace *g)
{
	pthread_mutex_lock(&g->lock);
	g->lost = true;
	pthread_mutex_unlock(&g->lock);
}

/* With the lock. */
static void start(struct grace *g)
{
	struct grace_member *m;

	g->started++;
	g->wanted = false;
	DL_FOREACH (g->members, m)
		m->awaited = atomic_load_explicit(&m->begun, memory_order_acquire);
}

static bool is_over(const struct grace *g)
{
	const struct grace_member *m;

	if (g->lost)
		return false;
	DL_FOREACH (g->members, m)
		if (ended_on(m) < m->awaited)
			return false;
	return true;
}

/* With the lock. A member that has joined since awaits nothing. */
static void advance(struct grace *g)
{
	while (g->ended < g->started && is_over(g)) {
		g->ended = g->started;
		if (g->wanted)
			start(g);
	}
}

void grace_settle(struct grace *g)
{
	struct grace_member *m;

	pthread_mutex_lock(&g->lock);
	g->lost = false;
	DL_FOREACH (g->members, m)
		m->settled = atomic_load_explicit(&m->lost, memory_order_acquire);
	advance(g);
	pthread_mutex_unlock(&g->lock);
}

bool grace_is_held_up(struct grace *g)
{
	const struct grace_member *m;
	bool lost;

	pthread_mutex_lock(&g->lock);
	advance(g);
	lost = g->ended < g->started;
	DL_FOREACH (g->members, m)
		if (ended_on(m) < m->awaited &&
			atomic_load_explicit(&m->lost, memory_order_acquire) < m->awaited)
			lost = false;
	pthread_mutex_unlock(&g->lock);
	return lost;
}

/* With the lock: the period to wait for. */
static uint64_t begin(struct grace *g)
{
	advance(g);
	if (g->ended == g->started)
		start(g);
	else
		g->wanted = true;
	return g->started + g->wanted;
}

uint64_t grace_begin(struct grace *g)
{
	uint64_t period;

	pthread_mutex_lock(&g->lock);
	period = begin(g);
	pthread_mutex_unlock(&g->lock);
	return period;
}

/* With the lock: nothing is on its way. */
static bool is_idle(const struct grace *g)
{
	const struct grace_member *m;

	if (g->lost)
		return false;
	DL_FOREACH (g->members, m)
		if (ended_on(m) < atomic_load_explicit(&m->begun, memory_order_acquire))
			return false;
	return true;
}

bool grace_is_over(struct grace *g)
{
	bool over;

	pthread_mutex_lock(&g->lock);
	over = is_idle(g);
	/* Somebody waits: what holds that up is looked for (grace_is_held_up()). */
	if (!over)
		(void)begin(g);
	pthread_mutex_unlock(&g->lock);
	return over;
}

bool grace_has_ended(struct grace *g, uint64_t period)
{
	bool ended;

	pthread_mutex_lock(&g->lock);
	advance(g);
	ended = g->ended >= period;
	pthread_mutex_unlock(&g->lock);
	return ended;
}
