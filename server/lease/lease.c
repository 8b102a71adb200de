/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/lease.h"

#include <errno.h>

/* Beats or ticks further apart than this many periods are late. */
#define STALL_PERIODS 3

/* 0 if since_ns is in the future. */
static uint64_t elapsed(uint64_t since_ns, uint64_t now_ns)
{
	return now_ns > since_ns ? now_ns - since_ns : 0;
}

static void enter(struct lease *l, enum lease_state state, uint64_t now_ns)
{
	l->state = state;
	l->since_ns = now_ns;
}

void lease_start(struct lease *l, uint64_t now_ns)
{
	*l = (struct lease){ .state = LEASE_LIVE, .seen_ns = now_ns, .since_ns = now_ns };
}

bool lease_renew(struct lease *l, uint64_t now_ns)
{
	if (l->state == LEASE_EXPIRED || l->state == LEASE_LAPSED)
		return false;
	/* Never move back: excused time stays excused. */
	if (now_ns > l->seen_ns)
		l->seen_ns = now_ns;
	if (l->state == LEASE_LATE)
		enter(l, LEASE_LIVE, now_ns);
	return true;
}

bool lease_observe(struct lease *l, uint64_t heartbeat, uint64_t now_ns)
{
	if (heartbeat == l->heartbeat || !lease_renew(l, now_ns))
		return false;
	l->heartbeat = heartbeat;
	return true;
}

bool lease_step(struct lease *l, const struct lease_terms *terms, uint64_t now_ns)
{
	uint64_t silent_ns = elapsed(l->seen_ns, now_ns);

	switch (l->state) {
	case LEASE_LIVE:
		if (silent_ns < terms->ttl_ns / 2)
			return false;
		enter(l, LEASE_LATE, now_ns);
		return true;
	case LEASE_LATE:
		if (silent_ns < terms->ttl_ns)
			return false;
		enter(l, LEASE_EXPIRED, now_ns);
		return true;
	case LEASE_EXPIRED:
		if (elapsed(l->since_ns, now_ns) < terms->courtesy_ns)
			return false;
		enter(l, LEASE_LAPSED, now_ns);
		return true;
	case LEASE_LAPSED:
		break;
	}
	return false;
}

int lease_resume(struct lease *l, uint64_t now_ns)
{
	if (l->state == LEASE_LAPSED)
		return -ESTALE;
	if (now_ns > l->seen_ns)
		l->seen_ns = now_ns;
	if (l->state != LEASE_LIVE)
		enter(l, LEASE_LIVE, now_ns);
	return 0;
}

/* Moved by the gap, but not past now: a sign of life within the gap must not buy more than one ttl. */
static uint64_t excused(uint64_t since_ns, uint64_t gap_ns, uint64_t now_ns)
{
	return elapsed(since_ns, now_ns) < gap_ns ? now_ns : since_ns + gap_ns;
}

void lease_excuse(struct lease *l, uint64_t gap_ns, uint64_t now_ns)
{
	l->seen_ns = excused(l->seen_ns, gap_ns, now_ns);
	/* Clients could not come back during the gap, so the courtesy time is extended too. */
	if (l->state == LEASE_EXPIRED)
		l->since_ns = excused(l->since_ns, gap_ns, now_ns);
}

uint64_t lease_since(const struct lease *l, uint64_t now_ns)
{
	return elapsed(l->since_ns, now_ns);
}

const char *lease_state_name(enum lease_state state)
{
	switch (state) {
	case LEASE_LIVE:
		return "live";
	case LEASE_LATE:
		return "late";
	case LEASE_EXPIRED:
		return "courtesy";
	case LEASE_LAPSED:
		return "lapsed";
	}
	return "unknown";
}

/* A late beat only proves that the process runs again: it counts as one period. */
static uint64_t ran_within(const struct pulse *p, uint64_t interval_ns)
{
	return interval_ns > STALL_PERIODS * p->period_ns ? p->period_ns : interval_ns;
}

void pulse_start(struct pulse *p, uint64_t period_ns, uint64_t now_ns)
{
	*p = (struct pulse){ .period_ns = period_ns, .beat_ns = now_ns };
}

void pulse_beat(struct pulse *p, uint64_t now_ns)
{
	p->ran_ns = pulse_ran(p, now_ns);
	if (now_ns > p->beat_ns)
		p->beat_ns = now_ns;
}

uint64_t pulse_ran(const struct pulse *p, uint64_t now_ns)
{
	return p->ran_ns + ran_within(p, elapsed(p->beat_ns, now_ns));
}

void stall_guard_start(struct stall_guard *g, uint64_t period_ns, uint64_t now_ns, uint64_t ran_ns)
{
	*g = (struct stall_guard){
		.period_ns = period_ns, .last_ns = now_ns, .last_ran_ns = ran_ns
	};
}

uint64_t stall_guard_tick(struct stall_guard *g, uint64_t now_ns, uint64_t ran_ns)
{
	uint64_t gap_ns = elapsed(g->last_ns, now_ns), run_ns = elapsed(g->last_ran_ns, ran_ns);

	g->last_ns = now_ns;
	g->last_ran_ns = ran_ns;
	if (gap_ns <= STALL_PERIODS * g->period_ns)
		return 0;
	return elapsed(run_ns, gap_ns);
}
