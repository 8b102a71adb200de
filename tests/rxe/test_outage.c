/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd is killed, or stands still, in the middle of 10 000 operations of a queue (storm.h); or it stays
 * dead, and everybody gets to know soon.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/storm.h"

#define OPERATIONS 10000UL
#define DEPTH 16384
#define TIMEOUT_MS 6000 /* of the sessions whose calls are to time out: all else must fit into it */
#define FREE_TIMEOUT_MS 1000
#define IN_FLIGHT 128 /* work requests: how many additions one break can leave unknown at most */
#define TRIES 10

static void must(const struct storm *s, bool ok)
{
	if (!ok)
		fail_msg("%s", s->wrong);
}

static void *reap_all(void *storm)
{
	struct storm *s = storm;

	storm_reap(s, s->count);
	return NULL;
}

static void await_reaped(const struct storm *s, size_t wanted)
{
	uint64_t until = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;

	while (atomic_load(&s->reaped) < wanted) {
		if (clock_boot_ns() > until)
			fail_msg("%zu reaped: %s", atomic_load(&s->reaped), s->wrong);
		sched_yield();
	}
}

/* Kill rmemd three times under the operations. False: they were nearly over before each, or could have been. */
static bool kill_under(struct rig *r, const struct storm *s)
{
	bool under = false;

	for (size_t kill = 1; kill <= 3; kill++) {
		await_reaped(s, kill * OPERATIONS / 5);
		rig_kill(r);
		/* What had been answered and not reaped yet is less than this. */
		under = under || OPERATIONS - atomic_load(&s->reaped) > 2 * IN_FLIGHT;
		rig_start(r, NULL);
	}
	return under;
}

static bool survives_kills(struct rig *r, struct rmem *rm, uint64_t seed)
{
	pthread_t reaper;
	struct storm s;
	bool under;

	lib_succeed(storm_create(&s, rm, OPERATIONS, DEPTH, seed));
	must(&s, storm_start(&s, OPERATIONS));
	assert_int_equal(pthread_create(&reaper, NULL, reap_all, &s), 0);
	under = kill_under(r, &s);
	pthread_join(reaper, NULL);
	must(&s, !s.wrong[0]);
	/* There was time enough to come back: only what must not be repeated is unknown. */
	printf("%zu failed, %zu of them unknown: %s\n", s.failed, s.unknown, s.errinfo);
	assert_int_equal(s.failed, s.unknown);
	assert_in_range(s.unknown, 0, 3 * IN_FLIGHT);
	must(&s, storm_verify(&s));
	/* The same session, on another connection. */
	assert_true(rig_ask_number(r, "status", "counters.resumes") > 0);
	lib_succeed(storm_destroy(&s));
	return under;
}

static void test_killed(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;
	int tries = 1;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	while (!survives_kills(r, rm, (uint64_t)tries))
		if (++tries > TRIES)
			fail_msg("in %d tries everything was over before the first kill", TRIES);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* The server's CPU takes no part: that it stands still is not noticed, but by who needs a key. */
static void test_stopped(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	uint64_t word = 1;
	struct storm s;
	struct rmem *rm;
	rmem_addr_t fresh;

	rig_start(r, NULL);
	attr.timeout_ms = TIMEOUT_MS;
	lib_succeed(rmem_open(r->server, &attr, &rm));
	fresh = lib_alloc(rm, 4096);
	lib_succeed(storm_create(&s, rm, OPERATIONS, DEPTH, 2));
	must(&s, storm_start(&s, OPERATIONS));
	must(&s, storm_reap(&s, OPERATIONS / 4));
	rig_freeze(r);
	must(&s, storm_reap(&s, OPERATIONS));
	assert_int_equal(s.failed, 0);
	lib_expect(rmem_start_write(s.q, fresh, &word, 8, 0), -ETIMEDOUT, "does not answer");
	rig_thaw(r);
	/* As if nothing had been. */
	must(&s, storm_verify(&s));
	lib_succeed(rmem_write(rm, fresh, &word, 8));
	lib_succeed(rmem_start_write(s.q, fresh, &word, 8, 0));
	rmem_queue_destroy(s.q);
	s.q = NULL;
	lib_succeed(rmem_free(rm, fresh));
	lib_succeed(storm_destroy(&s));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* A free that nobody answers in time says what to do, and when that is done the memory is free, once. */
static void test_free_repeated(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	rmem_addr_t addr, other;
	struct rmem *rm;
	char which[64];

	rig_start(r, NULL);
	attr.timeout_ms = FREE_TIMEOUT_MS;
	lib_succeed(rmem_open(r->server, &attr, &rm));
	addr = lib_alloc(rm, 4096);
	snprintf(which, sizeof(which), "0x%" PRIx64 " may still be allocated", addr);
	rig_freeze(r);
	for (int i = 0; i < 2; i++) {
		lib_expect(rmem_free(rm, addr), -ETIMEDOUT, which);
		lib_expect(rmem_free(rm, addr), -ETIMEDOUT, "call rmem_free() for it again: ");
	}
	rig_thaw(r);
	/* Now it is carried out; and its address is not lent before the program has asked. */
	other = lib_alloc(rm, 4096);
	assert_true(other != addr);
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 1);
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_free(rm, addr), -EINVAL, "freed already");
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 1);
	lib_succeed(rmem_free(rm, other));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

static uint64_t ms_since(uint64_t began_ns)
{
	return (clock_boot_ns() - began_ns) / NSEC_PER_MSEC;
}

/* So many bytes, in the allocation of so many bytes at that address. */
static bool names(const char *text, unsigned bytes, unsigned of_bytes, rmem_addr_t addr)
{
	char what[40], where[80];

	snprintf(what, sizeof(what), "of %u bytes at 0x", bytes);
	snprintf(where, sizeof(where), "in the allocation of %u bytes at 0x%" PRIx64, of_bytes,
		addr);
	return strstr(text, what) && strstr(text, where);
}

/* What a failed operation tells: itself, where it went, who allocated that, who is there, and what happened. */
static void check_text(const char *text, const struct storm *s)
{
	printf("%s\n", text);
	/* A read or write, or an addition: whichever was the first. */
	assert_true(names(text, STORM_SLOT, OPERATIONS * STORM_SLOT, s->slots) ||
		    names(text, 8, STORM_COUNTERS * 8, s->counters));
	assert_non_null(strstr(text, "made at site"));
	assert_non_null(strstr(text, "test_outage+0x"));
	assert_non_null(strstr(text, rig_host()));
	/* There is a status only if something was on its way just then. */
	assert_true((strstr(text, "(status ") && strstr(text, ", vendor 0x")) ||
		    strstr(text, "had been sent"));
}

#define CM_LIMIT_MS \
	50000 /* the connection manager's own is a minute: what is known before is ours */

static void test_dead_for_good(void **state)
{
	struct rig *r = *state;
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	uint64_t began, word, last_ms;
	struct storm s;
	struct rmem *rm;

	rig_start(r, NULL);
	attr.timeout_ms = TIMEOUT_MS;
	lib_succeed(rmem_open(r->server, &attr, &rm));
	lib_succeed(storm_create(&s, rm, OPERATIONS, DEPTH, 3));
	must(&s, storm_start(&s, OPERATIONS));
	must(&s, storm_reap(&s, OPERATIONS / 4));
	began = clock_boot_ns();
	rig_kill(r);
	must(&s, storm_reap(&s, OPERATIONS));
	printf("all known %" PRIu64 " ms after the kill, %zu unknown\n", ms_since(began),
		s.unknown);
	assert_in_range(ms_since(began), 0, CM_LIMIT_MS);
	assert_true(s.failed > 0);
	check_text(s.errinfo, &s);
	for (int i = 0; i < 3; i++) {
		int rc;

		began = clock_boot_ns();
		rc = i == 0   ? rmem_read(rm, &word, s.slots, 8)
		     : i == 1 ? rmem_start_read(s.q, &word, s.slots, 8, 0)
			      : rmem_fetch_add(rm, s.counters, 1, NULL);
		last_ms = ms_since(began);
		printf("%d after %" PRIu64 " ms: %s\n", rc, last_ms, rmem_errmsg());
		assert_true(rc == -ECONNRESET || rc == -ETIMEDOUT);
		assert_in_range(last_ms, 0, CM_LIMIT_MS);
	}
	/* Later it is there again, with everything. */
	rig_start(r, NULL);
	must(&s, storm_await_back(&s));
	must(&s, storm_verify(&s));
	lib_succeed(storm_destroy(&s));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_killed),
		RIG_TEST(test_stopped),
		RIG_TEST(test_free_repeated),
		RIG_TEST(test_dead_for_good),
	};

	return rig_main(RIG_PORT_OUTAGE, tests, sizeof(tests) / sizeof(tests[0]));
}
