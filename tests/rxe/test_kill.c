/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hundred clients are killed at random moments while others work on. Afterwards the report is
 * compared, client by client and block by block, with what each had told: what it surely held is
 * there, and at most the one call that was in flight makes a difference.
 *
 * RMEM_SEED chooses other moments; the seed is printed.
 */
#include "tests/rxe/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"
#include "tests/support/random.h"

#define VICTIMS_ALL 100
#define VICTIMS 40
#define AT_ONCE 10
#define LIVING 4
#define CALLS_MAX 40 /* a victim dies after fewer calls than that */
#define DELAY_MAX_NS (3 * NSEC_PER_MSEC)

struct scene {
	struct client *living[LIVING];
	struct client *victims[VICTIMS_ALL];
	unsigned nvictims;
	uint64_t seed;
};

static uint64_t choose_seed(void)
{
	const char *text = getenv("RMEM_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 20250601;

	printf("RMEM_SEED=%" PRIu64 "\n", seed);
	return seed;
}

static struct client *start_worker(struct rig *r, uint64_t *seed)
{
	const struct client_work work = {
		.seed = random_u64(seed), .max_held = 10, .max_bytes = 40000
	};

	return client_start_worker(r->server, &work);
}

/* Somewhere in the middle of whatever it does now. */
static void wait_a_little(uint64_t *seed)
{
	uint64_t until_ns = clock_boot_ns() + random_below(seed, DELAY_MAX_NS);

	while (clock_boot_ns() < until_ns)
		;
}

/* Start some victims, and kill each when it has made a random number of calls. */
static void kill_batch(struct rig *r, struct scene *s, unsigned first)
{
	uint64_t doom[AT_ONCE], until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	unsigned left = AT_ONCE;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		s->victims[first + i] = start_worker(r, &s->seed);
		doom[i] = random_below(&s->seed, CALLS_MAX);
	}
	while (left) {
		if (clock_boot_ns() > until_ns)
			fail_msg("%u clients do not get far enough to be killed", left);
		client_listen(10);
		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct client *c = s->victims[first + i];

			if (c->process.pid == 0 || c->calls < doom[i])
				continue;
			wait_a_little(&s->seed);
			client_kill(c);
			left--;
		}
	}
}

static bool all_are_dead(const json_t *sessions, void *arg)
{
	const struct scene *s = arg;

	for (unsigned i = 0; i < s->nvictims; i++) {
		const json_t *session = rig_session(sessions, s->victims[i]->pid);

		if (session && strcmp(rig_text(session, "state"), "dead") != 0)
			return false;
	}
	return true;
}

static void assert_saw_no_error(const struct client *c)
{
	if (c->failures)
		fail_msg("client %d, which nobody killed: %d, %s", (int)c->pid, c->failure.err,
			c->failure.errinfo);
}

/* Of all records of a kind: do they name only victims as holders? */
static void assert_holders(
	const struct scene *s, const json_t *leaks, const char *kind, bool victims)
{
	const json_t *record, *holder;
	size_t i, k;

	json_array_foreach(json_object_get(leaks, "records"), i, record)
	{
		if (strcmp(rig_text(record, "kind"), kind) != 0)
			continue;
		json_array_foreach(json_object_get(record, "holders"), k, holder)
		{
			bool is_victim = false;

			for (unsigned v = 0; v < s->nvictims; v++)
				is_victim |= rig_number(holder, "pid") == s->victims[v]->pid;
			if (is_victim != victims)
				fail_msg("%s: process %lld", kind, rig_number(holder, "pid"));
		}
	}
}

static long long changes(struct rig *r)
{
	json_t *status = rig_ask(r, "status");
	long long n = rig_number(status, "counters.allocs") + rig_number(status, "counters.frees");

	json_decref(status);
	return n;
}

/* Of one moment: a last request of those who stand still may have been on its way. */
static void ask_both(struct rig *r, json_t **leaks, json_t **map)
{
	long long before = changes(r);

	for (;;) {
		long long after;

		*leaks = rig_ask(r, "leaks");
		*map = rig_ask(r, "{\"cmd\":\"map\",\"limit\":100000}");
		after = changes(r);
		if (after == before)
			return;
		before = after;
		json_decref(*leaks);
		json_decref(*map);
	}
}

static void compare(struct rig *r, const struct scene *s)
{
	struct client_total dead = { 0, 0 }, living = { 0, 0 }, one;
	json_t *map, *leaks;
	size_t surely = 0;

	/* The living stand still meanwhile, so that both reports are of one moment. */
	for (unsigned i = 0; i < LIVING; i++)
		client_freeze(s->living[i]);
	ask_both(r, &leaks, &map);
	for (unsigned i = 0; i < LIVING; i++)
		client_thaw(s->living[i]);
	for (unsigned i = 0; i < s->nvictims; i++) {
		one = client_assert_map(s->victims[i], map);
		dead.blocks += one.blocks;
		dead.bytes += one.bytes;
		surely += s->victims[i]->nheld;
	}
	for (unsigned i = 0; i < LIVING; i++) {
		one = client_assert_map(s->living[i], map);
		living.blocks += one.blocks;
		living.bytes += one.bytes;
	}
	printf("the dead: %zu blocks planted, %lld found, %lld bytes; the living: %lld blocks\n",
		surely, dead.blocks, dead.bytes, living.blocks);
	assert_true(dead.blocks > s->nvictims); /* or too little was tested */
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), dead.blocks);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), dead.bytes);
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), living.blocks);
	assert_int_equal(rig_number(leaks, "summary.reachable.bytes"), living.bytes);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	assert_int_equal(rig_number(leaks, "summary.limbo.blocks"), 0);
	assert_holders(s, leaks, "definite", true);
	assert_holders(s, leaks, "reachable", false);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	json_decref(map);
}

static void test_many_killed(void **state)
{
	struct scene s = { .nvictims = rig_rounds(VICTIMS_ALL, VICTIMS), .seed = choose_seed() };
	char footprint[RIG_FOOTPRINT_SIZE];
	uint64_t before[LIVING];
	struct rig *r = *state;
	json_t *sessions;

	rig_start(r, (const char *const[]){ "--size", "256M", "--reclaim", "never", NULL });
	client_finish(start_worker(r, &s.seed)); /* what is made once is there now */
	rig_footprint(r, footprint);
	for (unsigned i = 0; i < LIVING; i++)
		s.living[i] = start_worker(r, &s.seed);
	for (unsigned i = 0; i < s.nvictims; i += AT_ONCE) {
		for (unsigned k = 0; k < LIVING; k++)
			before[k] = s.living[k]->calls;
		kill_batch(r, &s, i);
		for (unsigned k = 0; k < LIVING; k++) {
			client_await_calls(s.living[k], before[k] + 1);
			assert_saw_no_error(s.living[k]);
		}
	}
	sessions = rig_await(r, "sessions", all_are_dead, &s, "every victim is known to be dead");
	json_decref(sessions);
	compare(r, &s);
	/* They verify and free all they hold, and close. */
	for (unsigned i = 0; i < LIVING; i++) {
		client_finish(s.living[i]);
		assert_saw_no_error(s.living[i]);
		assert_int_equal(s.living[i]->nheld, 0);
	}
	assert_int_equal(rig_ask_number(r, "leaks", "summary.reachable.blocks"), 0);
	/* They cost nothing any more but the memory. */
	rig_await_footprint(r, footprint);
	rig_stop(r, true);
}

/* The same as people see it: rmemctl's words and exit status. */
static void test_rmemctl_tells(void **state)
{
	struct client_work work = { .seed = 5, .max_held = 3, .max_bytes = 9000, .idles = true };
	static struct rig_output out;
	struct rig *r = *state;
	struct client *c;
	char who[32];

	rig_start(r, NULL);
	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	assert_int_equal(out.status, 0);
	c = client_start_worker(r->server, &work);
	while (c->nheld < 3)
		client_await_calls(c, c->calls + 1);
	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	assert_int_equal(out.status, 0);
	client_kill(c);
	rig_await_dead(r, c->pid);
	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	if (out.status != 1)
		fail_msg("exit status %d: %s%s", out.status, out.out, out.err);
	snprintf(who, sizeof(who), "[%d]", (int)c->pid);
	assert_non_null(strstr(out.out, who));
	assert_non_null(strstr(out.out, "3 blocks"));
	assert_non_null(strstr(out.out, "role.c"));
	assert_non_null(strstr(out.out, "UNACCOUNTED 0"));
	rig_stop(r, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_many_killed),
		RIG_TEST(test_rmemctl_tells),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_KILL, tests, sizeof(tests) / sizeof(tests[0]));
}
