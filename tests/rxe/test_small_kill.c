/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small objects when something dies. Processes that have some are killed at random moments, in both modes of the
 * journal: afterwards each object that the mode promises is named by its site and to the byte, each that it says is
 * freed is not, and two reports agree on the rest. And slabs over restarts of rmemd, leases that end, and sessions
 * that are reclaimed.
 *
 * RMEM_SEED chooses other moments; the seed is printed.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/client.h"
#include "tests/rxe/hoarder.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/outside.h"
#include "tests/support/random.h"

#define VICTIMS 10
#define LIFE_MAX_MS 3500U
#define MANY 50000U /* objects of each of two sites, if RMEM_TEST_OBJECTS does not say how many */
#define PUPPET_OBJECTS 20U

static const char *const short_lease[] = { "--size", "32M", "--ttl", "900ms", "--reclaim", "never",
	NULL };
static const char *const large[] = { "--size", "256M", "--ttl", "2s", "--reclaim", "never", NULL };
static const char *const long_lease[] = { "--size", "0:8M", "--ttl", "10m", NULL };
static const char *const lost_lease[] = { "--size", "0:4M", "--ttl", "2s", NULL };

/* ---- killed at random moments ---- */

static struct hoarder victims[VICTIMS];

/* What the reports say about a victim. */
struct verdict {
	long long objects, bytes; /* of its shares in the report of leaks */
	long long journal_age_ms;
	long long named, named_bytes; /* of who-holds, of all addresses that it ever told */
	unsigned due, gone;
};

static void end_victims(void)
{
	for (unsigned i = 0; i < VICTIMS; i++)
		hoarder_end(&victims[i]);
}

static int teardown(void **state)
{
	end_victims();
	return rig_teardown(state);
}

/* Each works as long as chance says, from when the journal is to know all that it keeps. */
static void live_and_die(uint64_t *seed)
{
	const uint64_t began_ns = clock_boot_ns();
	uint64_t ends_ns[VICTIMS] = { 0 };
	unsigned left = VICTIMS;

	while (left) {
		for (unsigned i = 0; i < VICTIMS; i++) {
			struct hoarder *h = &victims[i];

			if (h->killed_ns)
				continue;
			hoarder_listen(h, 1);
			if (!ends_ns[i] && hoarder_is_settled(h))
				ends_ns[i] = clock_boot_ns() +
					     random_below(seed, LIFE_MAX_MS * NSEC_PER_MSEC);
			if (!ends_ns[i] || clock_boot_ns() < ends_ns[i])
				continue;
			hoarder_kill(h);
			left--;
		}
		if (clock_boot_ns() > began_ns + RIG_LIMIT_MS * NSEC_PER_MSEC)
			fail_msg("%u processes do not get to work", left);
	}
}

static void add_shares(const struct hoarder *h, const json_t *leaks, struct verdict *v)
{
	const json_t *record, *holder;
	size_t i, k;

	json_array_foreach(json_object_get(leaks, "records"), i, record)
	{
		json_array_foreach(json_object_get(record, "holders"), k, holder)
		{
			if (rig_number(holder, "pid") != h->pid)
				continue;
			assert_string_equal(rig_text(record, "kind"), "definite");
			assert_string_equal(
				rig_text(holder, "journal"), h->exact ? "exact" : "lazy");
			assert_int_equal(
				rig_number(holder, "objects"), rig_number(holder, "blocks"));
			v->objects += rig_number(holder, "objects");
			v->bytes += rig_number(holder, "bytes");
		}
	}
}

/* Is the address in a slab that the victim still has? */
static bool is_in_slab(const struct hoarder *h, const json_t *map, uint64_t addr)
{
	const json_t *block;
	size_t i;

	json_array_foreach(json_object_get(map, "blocks"), i, block)
	{
		const uint64_t start = strtoull(rig_text(block, "addr"), NULL, 16);

		if (addr - start < (uint64_t)rig_number(block, "block_bytes"))
			return rig_number(block, "pid") == h->pid;
	}
	return false;
}

static bool names_site(const json_t *who, const char *function)
{
	const json_t *frame;
	size_t i;

	json_array_foreach(json_object_get(who, "stack"), i, frame)
	{
		if (strcmp(rig_text(frame, "function"), function) == 0)
			return true;
	}
	return false;
}

/*
 * The mode promises that it is there, or that it is not; else either is right. What is due follows from what the process
 * has told of its calls and renewals, and from no clock but its own.
 */
static void judge(struct rig *r, const struct hoarder *h, const struct hoarder_object *o,
	const json_t *map, struct verdict *v)
{
	const bool due = hoarder_is_due(h, o);
	/* An object that nobody was told of may have got its place. */
	const bool gone =
		o->freed_ns && o->freed_ns < h->journaled_ns && h->unsure.call != HOARDER_ALLOC;
	bool live = false;
	char request[80];
	json_t *who;

	v->due += due;
	v->gone += gone;
	if (is_in_slab(h, map, o->addr)) {
		snprintf(request, sizeof(request),
			"{\"cmd\":\"who-holds\",\"addr\":\"0x%" PRIx64 "\"}", o->addr);
		who = rig_ask(r, request);
		/* Another slab may lie there since: with its records where this object was, or with another object. */
		live = json_is_object(json_object_get(who, "object")) &&
		       strtoull(rig_text(who, "object.addr"), NULL, 16) == o->addr &&
		       strcmp(rig_text(who, "object.state"), "live") == 0;
		if (live) {
			v->named++;
			v->named_bytes += rig_number(who, "object.bytes");
		}
		if (due && live) {
			assert_int_equal(rig_number(who, "object.bytes"), o->bytes);
			assert_true(names_site(who, hoarder_sites[o->site]));
		}
		json_decref(who);
	}
	if (due && !live)
		fail_msg("%s: %" PRIu64 " bytes at 0x%" PRIx64 " are not known",
			h->exact ? "exact" : "lazy", o->bytes, o->addr);
	if (gone && live)
		fail_msg("0x%" PRIx64 ", freed before the records were written, is live", o->addr);
}

static void judge_all(struct rig *r, const json_t *leaks, const json_t *map, const json_t *sessions)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < VICTIMS; i++) {
		struct hoarder *h = &victims[i];
		const json_t *session = rig_session(sessions, h->pid);
		struct verdict v = { .journal_age_ms = 0 };
		long long extra;

		/* One that had nothing at all is forgotten. */
		v.journal_age_ms = session ? rig_number(session, "journal_age_ms") : 0;
		add_shares(h, leaks, &v);
		for (size_t k = 0; k < h->nobjects; k++)
			judge(r, h, &h->objects[k], map, &v);
		/* Only what it was allocating when it died has an address that nobody was told. */
		extra = v.objects - v.named;
		if (extra < 0 || extra > (h->unsure.call == HOARDER_ALLOC) ||
			v.bytes - v.named_bytes != extra * (long long)h->unsure.bytes)
			fail_msg(
				"%lld objects, %lld bytes in the report, but %lld, %lld one by one",
				v.objects, v.bytes, v.named, v.named_bytes);
		printf("%s: %" PRIu64
		       " calls, %zu places; %lld objects, records %lld ms old; due %u, gone %u\n",
			h->exact ? "exact" : "lazy", h->calls, h->nobjects, v.objects,
			v.journal_age_ms, v.due, v.gone);
		assert_true(v.due >= HOARDER_KEPT);
		gone += v.gone;
	}
	/* Or too little was tested. */
	assert_true(gone > 0);
}

static void test_killed_at_random(void **state)
{
	struct rig *r = *state;
	uint64_t seed = lib_seed(20261201);
	json_t *leaks, *map, *sessions;

	rig_start(r, short_lease);
	hoarder_introduce(r->server);
	for (unsigned i = 0; i < VICTIMS; i++)
		hoarder_start(&victims[i], r->server, random_u64(&seed),
			i % 2 ? RMEM_JOURNAL_EXACT : RMEM_JOURNAL_LAZY);
	live_and_die(&seed);
	for (unsigned i = 0; i < VICTIMS; i++)
		rig_await_dead(r, victims[i].pid);
	leaks = rig_ask(r, "leaks");
	map = rig_ask(r, "{\"cmd\":\"map\",\"limit\":100000}");
	sessions = rig_ask(r, "sessions");
	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "coverage.corrupt_records"), 0);
	assert_int_equal(rig_number(leaks, "coverage.slabs_unread"), 0);
	judge_all(r, leaks, map, sessions);
	json_decref(leaks);
	json_decref(map);
	json_decref(sessions);
	rig_stop(r, true);
}

/* ---- killed among very many ---- */

static unsigned many;

static bool all_are_known(const json_t *leaks, void *arg)
{
	(void)arg;
	return rig_number(leaks, "summary.reachable.objects") == (long long)(2 * many);
}

static void assert_says(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("no '%s' in: %s", what, text);
}

static void assert_lost_at(
	const json_t *leaks, const char *function, uint64_t objects, uint64_t bytes)
{
	const json_t *record;
	size_t i;

	json_array_foreach(json_object_get(leaks, "records"), i, record)
	{
		if (!names_site(record, function))
			continue;
		assert_string_equal(rig_text(record, "kind"), "definite");
		assert_int_equal(rig_number(record, "objects"), objects);
		assert_int_equal(rig_number(record, "bytes"), bytes);
		return;
	}
	fail_msg("nothing is lost at %s", function);
}

static void test_killed_among_many(void **state)
{
	static struct rig_output out;
	const char *wanted = getenv("RMEM_TEST_OBJECTS");
	struct rig *r = *state;
	struct hoarder *h = &victims[0];
	json_t *leaks;
	long long bytes = 0;
	char text[32];

	many = wanted ? (unsigned)strtoul(wanted, NULL, 10) : MANY;
	rig_start(r, large);
	hoarder_start_full(h, r->server, many);
	while (!h->calls)
		hoarder_listen(h, 1000);
	json_decref(rig_await(r, "leaks", all_are_known, NULL, "the records of all objects"));
	hoarder_kill(h);
	rig_await_dead(r, h->pid);
	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	assert_int_equal(out.status, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_says(out.out, hoarder_sites[i]);
		bytes += (long long)(many * hoarder_bytes(i));
	}
	snprintf(text, sizeof(text), "in %u objects", many);
	assert_says(out.out, text);
	assert_says(out.out, "UNACCOUNTED 0");
	leaks = rig_ask(r, "leaks");
	rig_assert_accounted(leaks);
	for (unsigned i = 0; i < 2; i++)
		assert_lost_at(leaks, hoarder_sites[i], many, many * hoarder_bytes(i));
	assert_int_equal(rig_number(leaks, "summary.definite.objects"), 2 * many);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), bytes);
	json_decref(leaks);
	rig_stop(r, true);
}

/* ---- slabs of those who live ---- */

static uint64_t places[PUPPET_OBJECTS];

static uint64_t puppet_bytes(unsigned i)
{
	return 8 + i * i * 40; /* up to 14 KiB */
}

static struct client *start_with_objects(struct rig *r, unsigned n)
{
	struct client *c = client_start_puppet(r->server, RIG_LIMIT_MS);

	client_open(c);
	for (unsigned i = 0; i < n; i++) {
		places[i] = client_alloc_object(c, puppet_bytes(i));
		client_fill(c, places[i], puppet_bytes(i), i + 1);
	}
	return c;
}

static void check_objects(struct client *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_check(c, places[i], puppet_bytes(i), i + 1);
}

/* It works on: frees some, allocates others, and gives all back. */
static void go_on(struct rig *r, struct client *c)
{
	check_objects(c, PUPPET_OBJECTS);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i += 2) {
		client_free(c, places[i]);
		places[i] = client_alloc_object(c, puppet_bytes(i));
		client_fill(c, places[i], puppet_bytes(i), i + 1);
	}
	check_objects(c, PUPPET_OBJECTS);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i++)
		client_free(c, places[i]);
	client_close(c);
	rig_end(r);
}

static void test_restart(void **state)
{
	struct rig *r = *state;
	struct client *c;

	rig_start(r, long_lease);
	c = start_with_objects(r, PUPPET_OBJECTS);
	rig_kill(r);
	rig_start(r, long_lease);
	go_on(r, c);
}

static void test_lease_resumed(void **state)
{
	struct rig *r = *state;
	struct client *c;

	rig_start(r, short_lease);
	c = start_with_objects(r, PUPPET_OBJECTS);
	client_freeze(c);
	rig_await_revoked(r, c->pid);
	client_thaw(c);
	go_on(r, c);
}

static void expect_stale(struct client *c, enum client_call call, unsigned i)
{
	const struct client_order order = {
		.call = call, .addr = places[i], .bytes = puppet_bytes(i), .seed = i + 1
	};
	const struct client_record *record = client_do(c, &order);

	if (record->err != -ESTALE)
		fail_msg("call %u on object %u: %d, %s", record->call, i, record->err,
			record->errinfo);
}

static bool holds_all(const json_t *leaks, void *arg)
{
	(void)arg;
	assert_int_equal(rig_number(leaks, "coverage.corrupt_records"), 0);
	return rig_number(leaks, "summary.reachable.objects") == PUPPET_OBJECTS;
}

/* All its memory goes to another one, so that its session is reclaimed. */
static void test_session_reclaimed(void **state)
{
	struct client *victim, *other;
	struct rig *r = *state;
	uint64_t all, again;

	rig_start(r, lost_lease);
	victim = start_with_objects(r, PUPPET_OBJECTS);
	client_freeze(victim);
	rig_await_revoked(r, victim->pid);
	other = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(other);
	all = client_alloc(other, 4 * MIB, RMEM_NODE_ANY);
	client_free(other, all);
	rig_await_wiped(r);
	client_thaw(victim);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i++) {
		expect_stale(victim, CLIENT_CHECK, i);
		expect_stale(victim, CLIENT_FILL, i);
	}
	/* What it gets now is good, and nowhere that it has not given up. */
	again = client_alloc_object(victim, 100);
	client_fill(victim, again, 100, 77);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i++)
		assert_true(again + 100 <= places[i] || places[i] + puppet_bytes(i) <= again);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i++) {
		expect_stale(victim, CLIENT_FREE, i);
		if (i + 1 < PUPPET_OBJECTS)
			expect_stale(victim, CLIENT_CHECK, i + 1);
	}
	client_check(victim, again, 100, 77);
	client_free(victim, again);
	for (unsigned i = 0; i < PUPPET_OBJECTS; i++) {
		places[i] = client_alloc_object(victim, puppet_bytes(i));
		client_fill(victim, places[i], puppet_bytes(i), i + 1);
	}
	client_close(other);
	/* The records name sites that this session was told. */
	json_decref(rig_await(r, "leaks", holds_all, NULL, "the records of all objects"));
	go_on(r, victim);
}

/* ---- rmemd dies while objects are freed ---- */

#define CHURN_OBJECTS 400U
#define CHURN_BYTES 4000U
#define CHURN_KILLS 3U
#define CHURN_PAUSE_MS 300

struct churn {
	struct rmem *rm;
	_Atomic bool over;
	_Atomic unsigned rounds;
	char failure[256];
	pthread_t thread;
};

/* Slabs come and go. An allocation may have to wait for rmemd; a free never fails. */
static void *churn(void *arg)
{
	static rmem_addr_t held[CHURN_OBJECTS];
	struct churn *c = arg;
	int rc = 0;

	while (!atomic_load(&c->over) && rc == 0) {
		unsigned n = 0;

		while (n < CHURN_OBJECTS && rc == 0) {
			rc = rmem_alloc(c->rm, CHURN_BYTES, NULL, &held[n]);
			if (rc == 0)
				n++;
			else if (rc == -ECONNRESET || rc == -ETIMEDOUT)
				rc = 0;
		}
		while (n > 0 && rc == 0)
			rc = rmem_free(c->rm, held[--n]);
		atomic_fetch_add(&c->rounds, 1);
	}
	if (rc)
		snprintf(c->failure, sizeof(c->failure), "%d: %.200s", rc, rmem_errmsg());
	return NULL;
}

static void test_server_killed_under_frees(void **state)
{
	static struct churn c;
	struct rig *r = *state;

	rig_start(r, long_lease);
	c.rm = lib_open(r->server, 0);
	assert_int_equal(pthread_create(&c.thread, NULL, churn, &c), 0);
	for (unsigned i = 0; i < CHURN_KILLS; i++) {
		const unsigned before = atomic_load(&c.rounds);

		rig_elapse(CHURN_PAUSE_MS); /* anywhere in its work */
		rig_kill(r);
		rig_start(r, long_lease);
		while (atomic_load(&c.rounds) < before + 2 && !c.failure[0])
			rig_elapse(10);
	}
	atomic_store(&c.over, true);
	pthread_join(c.thread, NULL);
	assert_string_equal(c.failure, "");
	lib_succeed(rmem_close(c.rm));
	rig_end(r);
}

#define SMALL_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SMALL_TEST(test_killed_at_random),
		SMALL_TEST(test_killed_among_many),
		RIG_TEST(test_restart),
		RIG_TEST(test_lease_resumed),
		RIG_TEST(test_session_reclaimed),
		RIG_TEST(test_server_killed_under_frees),
	};

	if (argc > 1 && strcmp(argv[1], "hoarder") == 0)
		return hoarder_role(argc, argv);
	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_SMALL_KILL, tests, sizeof(tests) / sizeof(tests[0]));
}
