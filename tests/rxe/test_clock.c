/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Somebody sets the clock, as date -s does, by more than a day, forward and back, while rmemd runs and while it does
 * not: nothing that the dead left is taken back, nobody who lives is blamed, and every age stays right.
 *
 * It belongs to the whole machine, so nothing else may run at the same time.
 */
#include "tests/rxe/rig.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/units.h"
#include "rmem/rmem.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"

#define HOUR_NS (3600 * (int64_t)NSEC_PER_SEC)
#define STEP_NS (25 * HOUR_NS) /* more than the courtesy */
#define SLACK_MS (15 * 60 * 1000LL)
#define TTL_MS 3000
#define BLOCK (64 * KIB)
#define LOST 3

static const char *const options[] = { "--size", "0:16M", "--ttl", "3s", NULL };

struct scene {
	struct client *living, *dead;
	uint64_t addr, began_ns;
};

/* The wall clock shows this much more than the boot clock. */
static int64_t wall_ahead_ns(void)
{
	return (int64_t)(clock_real_ns() - clock_boot_ns());
}

static void set_wall(int64_t ahead_ns)
{
	const uint64_t real_ns = clock_boot_ns() + (uint64_t)ahead_ns;
	const struct timespec ts = { .tv_sec = (time_t)(real_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(real_ns % NSEC_PER_SEC) };

	assert_int_equal(clock_settime(CLOCK_REALTIME, &ts), 0);
}

static bool is_lost(const json_t *leaks, void *arg)
{
	(void)arg;
	return rig_number(leaks, "summary.definite.blocks") == LOST;
}

static void begin(struct rig *r, struct scene *s)
{
	s->began_ns = clock_boot_ns();
	rig_start(r, options);
	s->living = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(s->living);
	s->addr = client_alloc(s->living, BLOCK, RMEM_NODE_ANY);
	client_fill(s->living, s->addr, BLOCK, 1);
	s->dead = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(s->dead);
	for (unsigned i = 0; i < LOST; i++)
		client_alloc(s->dead, BLOCK, RMEM_NODE_ANY);
	client_kill(s->dead);
	rig_await_dead(r, s->dead->pid);
	json_decref(rig_await(r, "leaks", is_lost, NULL, "what the dead one left is lost"));
}

static bool renews(const json_t *sessions, void *arg)
{
	const json_t *session = rig_session(sessions, *(pid_t *)arg);

	return session && strcmp(rig_text(session, "state"), "connected") == 0 &&
	       strcmp(rig_text(session, "lease"), "live") == 0 &&
	       rig_number(session, "seen_ago_ms") < TTL_MS;
}

/* Not longer than this test has run, and no time of day that has nothing to do with now. */
static void check_age(const json_t *o, const char *age, const char *time, const struct scene *s)
{
	const long long ran_ms = (long long)((clock_boot_ns() - s->began_ns) / NSEC_PER_MSEC);
	const long long real_ms = (long long)(clock_real_ns() / NSEC_PER_MSEC);
	const long long at_ms = rig_number(o, time) / (long long)NSEC_PER_MSEC;

	assert_in_range(rig_number(o, age), 1, ran_ms);
	assert_in_range(at_ms, real_ms - ran_ms - SLACK_MS, real_ms + 1);
}

static void check_sessions(struct rig *r, const struct scene *s)
{
	pid_t pid = s->living->pid;
	json_t *sessions = rig_await(r, "sessions", renews, &pid, "the living one's lease is good");
	const json_t *dead = rig_session(sessions, s->dead->pid);

	check_age(rig_session(sessions, pid), "state_for_ms", "opened_ns", s);
	assert_non_null(dead);
	assert_string_equal(rig_text(dead, "state"), "dead");
	check_age(dead, "state_for_ms", "state_since_ns", s);
	json_decref(sessions);
}

static void check(struct rig *r, const struct scene *s)
{
	json_t *leaks, *status;

	/* Ticks go by, and the living one renews its lease. */
	rig_elapse(TTL_MS / 2);
	client_check(s->living, s->addr, BLOCK, 1);
	check_sessions(r, s);
	leaks = rig_await(r, "leaks", is_lost, NULL, "what the dead one left is still there");
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), (long long)(LOST * BLOCK));
	check_age(json_array_get(json_object_get(leaks, "records"), 0), "age_max_ms",
		"birth_min_ns", s);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	status = rig_ask(r, "status");
	assert_int_equal(rig_number(status, "counters.reclaimed_blocks"), 0);
	assert_int_equal(rig_number(status, "counters.expiries"), 0);
	check_age(json_object_get(status, "server"), "uptime_ms", "started_ns", s);
	json_decref(status);
}

/* Nobody is in a state for "213502d" as the operator reads it, nor was seen so long ago. */
static void check_text(struct rig *r)
{
	static struct rig_output said;
	char state_for[32], seen[32];
	const char *line;
	unsigned rows = 0;

	rig_ctl(r, (const char *const[]){ "sessions", NULL }, &said);
	assert_int_equal(said.status, 0);
	for (line = strchr(said.out, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
		/* SESSION STATE FOR LEASE SEEN */
		assert_int_equal(sscanf(line + 1, "%*s %*s %31s %*s %31s", state_for, seen), 2);
		if (strchr(state_for, 'd') || strchr(seen, 'd'))
			fail_msg("%s", said.out);
		rows++;
	}
	assert_int_equal(rows, 2);
}

static void end(struct rig *r, const struct scene *s)
{
	client_free(s->living, s->addr);
	client_close(s->living);
	client_finish(s->living);
	rig_stop(r, true); /* what the dead one left */
}

static void test_clock_is_set(void **state)
{
	const int64_t ahead_ns = wall_ahead_ns();
	struct rig *r = *state;
	struct scene s;

	begin(r, &s);
	check(r, &s);
	set_wall(ahead_ns + STEP_NS);
	check(r, &s);
	check_text(r);
	set_wall(ahead_ns - STEP_NS);
	check(r, &s);
	check_text(r);
	set_wall(ahead_ns);
	check(r, &s);
	end(r, &s);
}

/* In a step of the clock rmemd is not there; the next one finds in records what another clock would date elsewhere. */
static void test_clock_is_set_between_runs(void **state)
{
	const int64_t ahead_ns = wall_ahead_ns();
	static const int64_t steps[] = { STEP_NS, -STEP_NS, 0 };
	struct rig *r = *state;
	struct scene s;

	begin(r, &s);
	for (unsigned i = 0; i < 3; i++) {
		rig_kill(r);
		set_wall(ahead_ns + steps[i]);
		rig_start(r, options);
		check(r, &s);
	}
	end(r, &s);
}

static bool may_set(void)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) == 0 && clock_settime(CLOCK_REALTIME, &now) == 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_clock_is_set),
		RIG_TEST(test_clock_is_set_between_runs),
	};
	const int64_t ahead_ns = wall_ahead_ns();
	int rc;

	if (argc > 1)
		return client_role(argc, argv);
	if (!may_set()) {
		printf("skipped: the clock cannot be set here\n");
		return 77;
	}
	rc = rig_main(RIG_PORT_CLOCK, tests, sizeof(tests) / sizeof(tests[0]));
	set_wall(ahead_ns);
	return rc;
}
