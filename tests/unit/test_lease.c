/* SPDX-License-Identifier: BSD-3-Clause */
/* The lease machine: every state against every event, then time, boards and stalls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/lease/lease.h"

#define TTL 10000ULL
#define COURTESY 50000ULL
#define T0 1000000ULL

static const struct lease_terms terms = { .ttl_ns = TTL, .courtesy_ns = COURTESY };

enum event {
	RENEW,
	OBSERVE_MOVED,
	OBSERVE_SAME,
	RESUME,
	EXCUSE,
	STEP_SOON,
	STEP_HALF,
	STEP_TTL,
	STEP_COURTESY
};

struct row {
	enum lease_state from;
	enum event event;
	enum lease_state to;
	int result; /* of the call; for EXCUSE always 0 */
};

static const struct row rows[] = {
	{ LEASE_LIVE, RENEW, LEASE_LIVE, true },
	{ LEASE_LIVE, OBSERVE_MOVED, LEASE_LIVE, true },
	{ LEASE_LIVE, OBSERVE_SAME, LEASE_LIVE, false },
	{ LEASE_LIVE, RESUME, LEASE_LIVE, 0 },
	{ LEASE_LIVE, EXCUSE, LEASE_LIVE, 0 },
	{ LEASE_LIVE, STEP_SOON, LEASE_LIVE, false },
	{ LEASE_LIVE, STEP_HALF, LEASE_LATE, true },
	{ LEASE_LIVE, STEP_TTL, LEASE_LATE, true },
	{ LEASE_LIVE, STEP_COURTESY, LEASE_LATE, true },
	{ LEASE_LATE, RENEW, LEASE_LIVE, true },
	{ LEASE_LATE, OBSERVE_MOVED, LEASE_LIVE, true },
	{ LEASE_LATE, OBSERVE_SAME, LEASE_LATE, false },
	{ LEASE_LATE, RESUME, LEASE_LIVE, 0 },
	{ LEASE_LATE, EXCUSE, LEASE_LATE, 0 },
	{ LEASE_LATE, STEP_SOON, LEASE_LATE, false },
	{ LEASE_LATE, STEP_HALF, LEASE_LATE, false },
	{ LEASE_LATE, STEP_TTL, LEASE_EXPIRED, true },
	{ LEASE_LATE, STEP_COURTESY, LEASE_EXPIRED, true },
	{ LEASE_EXPIRED, RENEW, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, OBSERVE_MOVED, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, OBSERVE_SAME, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, RESUME, LEASE_LIVE, 0 },
	{ LEASE_EXPIRED, EXCUSE, LEASE_EXPIRED, 0 },
	{ LEASE_EXPIRED, STEP_SOON, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, STEP_HALF, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, STEP_TTL, LEASE_EXPIRED, false },
	{ LEASE_EXPIRED, STEP_COURTESY, LEASE_LAPSED, true },
	{ LEASE_LAPSED, RENEW, LEASE_LAPSED, false },
	{ LEASE_LAPSED, OBSERVE_MOVED, LEASE_LAPSED, false },
	{ LEASE_LAPSED, OBSERVE_SAME, LEASE_LAPSED, false },
	{ LEASE_LAPSED, RESUME, LEASE_LAPSED, -ESTALE },
	{ LEASE_LAPSED, EXCUSE, LEASE_LAPSED, 0 },
	{ LEASE_LAPSED, STEP_SOON, LEASE_LAPSED, false },
	{ LEASE_LAPSED, STEP_HALF, LEASE_LAPSED, false },
	{ LEASE_LAPSED, STEP_TTL, LEASE_LAPSED, false },
	{ LEASE_LAPSED, STEP_COURTESY, LEASE_LAPSED, false },
};

static int fire(struct lease *l, enum event event, uint64_t now)
{
	switch (event) {
	case RENEW:
		return lease_renew(l, now);
	case OBSERVE_MOVED:
		return lease_observe(l, l->heartbeat + 1, now);
	case OBSERVE_SAME:
		return lease_observe(l, l->heartbeat, now);
	case RESUME:
		return lease_resume(l, now);
	case EXCUSE:
		lease_excuse(l, TTL, T0 + 2 * TTL);
		return 0;
	case STEP_SOON:
		return lease_step(l, &terms, T0 + TTL / 2 - 1);
	case STEP_HALF:
		return lease_step(l, &terms, T0 + TTL / 2);
	case STEP_TTL:
		return lease_step(l, &terms, T0 + TTL);
	case STEP_COURTESY:
		return lease_step(l, &terms, T0 + COURTESY);
	}
	return -1;
}

static void check_untouched(const struct lease *l, const struct lease *before)
{
	assert_int_equal(l->state, before->state);
	assert_int_equal(l->seen_ns, before->seen_ns);
	assert_int_equal(l->since_ns, before->since_ns);
	assert_int_equal(l->heartbeat, before->heartbeat);
}

static void test_transitions(void **state)
{
	(void)state;
	assert_int_equal(sizeof(rows) / sizeof(rows[0]), 4 * 9);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lease l = {
			.state = rows[i].from, .seen_ns = T0, .since_ns = T0, .heartbeat = 7
		};
		struct lease before = l;
		int result = fire(&l, rows[i].event, T0 + 3);

		if (result != rows[i].result || l.state != rows[i].to)
			fail_msg("row %u: %s, event %d gave %d, %s", i,
				lease_state_name(rows[i].from), (int)rows[i].event, result,
				lease_state_name(l.state));
		/* Refused means untouched. */
		if (result <= 0 && rows[i].event != EXCUSE && rows[i].event != RESUME)
			check_untouched(&l, &before);
		if (l.state != before.state)
			assert_true(l.since_ns != before.since_ns);
	}
}

/* Silence walks through the states, one per call, each at its time and not a nanosecond earlier. */
static void test_silence(void **state)
{
	struct lease l;

	(void)state;
	lease_start(&l, T0);
	assert_int_equal(l.state, LEASE_LIVE);
	for (uint64_t now = T0; l.state != LEASE_LAPSED; now++) {
		enum lease_state before = l.state;

		assert_true(now <= T0 + TTL + COURTESY);
		if (!lease_step(&l, &terms, now))
			continue;
		assert_int_equal(l.state, before + 1);
		assert_int_equal(l.since_ns, now);
		if (l.state == LEASE_LATE)
			assert_int_equal(now, T0 + TTL / 2);
		if (l.state == LEASE_EXPIRED)
			assert_int_equal(now, T0 + TTL);
		if (l.state == LEASE_LAPSED)
			assert_int_equal(now, T0 + TTL + COURTESY);
	}
	/* One transition per call even when everything is long over. */
	lease_start(&l, T0);
	assert_true(lease_step(&l, &terms, T0 + 100 * COURTESY));
	assert_int_equal(l.state, LEASE_LATE);
	assert_true(lease_step(&l, &terms, T0 + 100 * COURTESY));
	assert_int_equal(l.state, LEASE_EXPIRED);
	assert_false(lease_step(&l, &terms, T0 + 100 * COURTESY));
}

/* Whatever happens: out of EXPIRED leads only a resume, out of LAPSED nothing. */
static void test_no_resurrection(void **state)
{
	uint64_t seed = 0x5eed, now = T0;
	struct lease l;
	unsigned lapsed = 0, resumed = 0;

	(void)state;
	lease_start(&l, now);
	for (unsigned i = 0; i < 200000; i++) {
		enum lease_state before = l.state;
		enum event event;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		now += (seed >> 40) % TTL;
		event = (enum event)((seed >> 33) % 6);
		if (event >= STEP_SOON)
			lease_step(&l, &terms, now);
		else if (event == EXCUSE)
			lease_excuse(&l, (seed >> 50) % 100, now);
		else
			fire(&l, event, now);
		if (before == LEASE_EXPIRED && l.state != LEASE_EXPIRED) {
			assert_true(l.state == LEASE_LAPSED || event == RESUME);
			resumed += event == RESUME;
		}
		if (before == LEASE_LAPSED) {
			assert_int_equal(l.state, LEASE_LAPSED);
			lapsed++;
			lease_start(&l, now);
		}
	}
	assert_true(lapsed > 0 && resumed > 0);
}

static void test_heartbeat_page(void **state)
{
	struct lease l;

	(void)state;
	lease_start(&l, T0);
	assert_true(lease_observe(&l, 1, T0 + 10));
	assert_int_equal(l.seen_ns, T0 + 10);
	assert_false(lease_observe(&l, 1, T0 + 20));
	assert_int_equal(l.seen_ns, T0 + 10);
	/* A torn or lower value is a change like any other. */
	assert_true(lease_observe(&l, 0, T0 + 30));
	assert_int_equal(l.seen_ns, T0 + 30);
	/* A renewal with an older time takes nothing back. */
	assert_true(lease_renew(&l, T0 + 5));
	assert_int_equal(l.seen_ns, T0 + 30);
}

static void test_excuse(void **state)
{
	struct lease l;

	(void)state;
	/* The server slept for 5 ttl: nobody is late for it. */
	lease_start(&l, T0);
	lease_excuse(&l, 5 * TTL, T0 + 5 * TTL);
	assert_false(lease_step(&l, &terms, T0 + 5 * TTL));
	assert_false(lease_step(&l, &terms, T0 + 5 * TTL + TTL / 2 - 1));
	assert_true(lease_step(&l, &terms, T0 + 5 * TTL + TTL / 2));
	/* Who was heard after that has a lease from then on, and not 5 ttl more. */
	lease_start(&l, T0 + 5 * TTL - 1);
	lease_excuse(&l, 5 * TTL, T0 + 5 * TTL);
	assert_int_equal(l.seen_ns, T0 + 5 * TTL);
	/* A time to come does not wrap around. */
	lease_start(&l, T0 + 1);
	lease_excuse(&l, 1, T0);
	assert_false(lease_step(&l, &terms, T0));
	/* Courtesy is prolonged too. */
	l = (struct lease){ .state = LEASE_EXPIRED, .seen_ns = T0, .since_ns = T0 };
	lease_excuse(&l, 5 * TTL, T0 + 5 * TTL);
	assert_false(lease_step(&l, &terms, T0 + COURTESY + 5 * TTL - 1));
	assert_true(lease_step(&l, &terms, T0 + COURTESY + 5 * TTL));
}

static void test_pulse(void **state)
{
	struct pulse p;

	(void)state;
	pulse_start(&p, 100, T0);
	assert_int_equal(pulse_ran(&p, T0 + 70), 70);
	for (unsigned i = 1; i <= 10; i++)
		pulse_beat(&p, T0 + 101ULL * i); /* never quite in time, and nothing is lost */
	assert_int_equal(pulse_ran(&p, T0 + 1010), 1010);
	assert_int_equal(pulse_ran(&p, T0 + 1310), 1310); /* 3 periods: still fine */
	/* No beat for longer: only one period of that is known. The same whether or not one comes then. */
	assert_int_equal(pulse_ran(&p, T0 + 51010), 1110);
	pulse_beat(&p, T0 + 51010);
	assert_int_equal(pulse_ran(&p, T0 + 51010), 1110);
	pulse_beat(&p, T0 + 51110);
	assert_int_equal(pulse_ran(&p, T0 + 51110), 1210);
	pulse_beat(&p, T0 + 51000); /* backwards: never huge */
	assert_int_equal(pulse_ran(&p, T0 + 51110), 1210);
}

/* Ticks and beats of a process that was stopped: nobody is to blame, whoever of the two runs first afterwards. */
static void test_stopped(void **state)
{
	for (unsigned beat_first = 0; beat_first < 2; beat_first++) {
		uint64_t excused = 0, now = T0;
		struct stall_guard g;
		struct pulse p;

		(void)state;
		pulse_start(&p, 100, now);
		stall_guard_start(&g, 100, now, pulse_ran(&p, now));
		for (unsigned i = 0; i < 50; i++) {
			now += i == 20 ? 60100 : i == 40 ? 400 : 100;
			if (beat_first)
				pulse_beat(&p, now);
			excused += stall_guard_tick(&g, now, pulse_ran(&p, now));
			if (!beat_first)
				pulse_beat(&p, now);
			if (i < 20)
				assert_int_equal(excused, 0);
		}
		assert_int_equal(excused, 60000 + 300);
	}
}

/* One that is busy for as long, again and again: it ran, so nobody is excused. */
static void test_busy(void **state)
{
	struct stall_guard g;
	uint64_t now = T0;
	struct pulse p;

	(void)state;
	pulse_start(&p, 100, now);
	stall_guard_start(&g, 100, now, pulse_ran(&p, now));
	for (unsigned i = 0; i < 50; i++) {
		for (unsigned k = 0; k < 30; k++)
			pulse_beat(&p, now += 103);
		now += 17 * (i % 7);
		assert_int_equal(stall_guard_tick(&g, now, pulse_ran(&p, now)), 0);
	}
	/* Busy, and in the middle of it stopped: that is excused, and no more. */
	for (unsigned k = 0; k < 30; k++)
		pulse_beat(&p, now += k == 15 ? 7100 : 100);
	assert_int_equal(stall_guard_tick(&g, now, pulse_ran(&p, now)), 7000);
}

static void test_stall_guard(void **state)
{
	struct stall_guard g;

	(void)state;
	stall_guard_start(&g, 100, T0, 0);
	assert_int_equal(stall_guard_tick(&g, T0 + 100, 100), 0);
	assert_int_equal(stall_guard_tick(&g, T0 + 400, 100), 0); /* 3 periods: still fine */
	assert_int_equal(stall_guard_tick(&g, T0 + 701, 100), 301);
	assert_int_equal(stall_guard_tick(&g, T0 + 800, 199), 0);
	assert_int_equal(stall_guard_tick(&g, T0 + 700, 150), 0); /* backwards: never huge */
	assert_int_equal(stall_guard_tick(&g, T0 + 10000, 140), 9300);
	assert_int_equal(stall_guard_tick(&g, T0 + 20000, 20000), 0);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(lease_state_name(LEASE_LIVE), "live");
	assert_string_equal(lease_state_name(LEASE_LATE), "late");
	assert_string_equal(lease_state_name(LEASE_EXPIRED), "courtesy");
	assert_string_equal(lease_state_name(LEASE_LAPSED), "lapsed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transitions),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_no_resurrection),
		cmocka_unit_test(test_heartbeat_page),
		cmocka_unit_test(test_excuse),
		cmocka_unit_test(test_pulse),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_stall_guard),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
