/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters and records that processes share: sums are exact and values whole, whoever is killed meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "common/clock.h"
#include "rmem/objects.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/peer.h"

#define LINES 4
#define WORDS 300U
#define VALUE_BYTES (WORDS * sizeof(uint64_t))
#define BYTES (64UL << 10)
#define TRIES 10

static bool is_passing(int rc)
{
	return rc == -ECONNRESET || rc == -ETIMEDOUT;
}

/* ---- what the peers do ---- */

/* Says after each addition that it was made, or that nobody knows (1). */
static int play_adder(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_counter *c = NULL;
	int rc;

	peer_must(rmem_counter_create(rm, t->addr, LINES, &c), "create");
	for (uint64_t i = 0; i < t->number; i++) {
		/* A line of the dead is free when rmemd has seen to their connections. */
		do
			rc = rmem_counter_add(c, 1000);
		while (is_passing(rc) || rc == -EUSERS);
		peer_say(rc == -EREMOTEIO ? 1 : peer_must(rc, "add"));
	}
	rmem_counter_destroy(c);
	return peer_must(rmem_close(rm), "close");
}

/* Values of words that are all the same, as fast as it can. */
static int play_writer(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_record *r = NULL;
	uint64_t words[WORDS];
	int rc = 0;

	peer_must(rmem_record_create(rm, t->addr, sizeof(words), &r), "create");
	for (uint64_t i = 0; rc == 0; i++) {
		for (unsigned k = 0; k < WORDS; k++)
			words[k] = t->number + i;
		while (is_passing(rc = rmem_record_write(r, words, -1)))
			;
		if (i == 3)
			peer_say(0);
	}
	peer_say(rc);
	peer_wait();
	rmem_record_destroy(r);
	return peer_must(rmem_close(rm), "close");
}

/* ---- the tests ---- */

static uint64_t value_of(struct rmem_counter *c)
{
	uint64_t value = 0;

	if (rmem_counter_get(c, &value))
		fail_msg("%s", rmem_errmsg());
	return value;
}

/* The next thing it says, added up: additions that count, and whose fate is open. False: it has ended. */
static bool count_one(struct peer *p, uint64_t *sure, uint64_t *open)
{
	int64_t said = peer_hear(p);

	*sure += said == 0;
	*open += said == 1;
	return said != PEER_DEAD;
}

/* What it has said until its end. */
static void count(struct peer *p, uint64_t *sure, uint64_t *open)
{
	while (count_one(p, sure, open))
		;
}

static void test_counter(void **state)
{
	struct rmem_counter *c = NULL, *other = NULL, *bad = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr + 4, LINES, &bad), -EINVAL);
	assert_int_equal(rmem_counter_create(sc.rm, 0, LINES, &bad), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "null"));
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, 0, &bad), -EINVAL);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, 1025, &bad), -EINVAL);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, 1, NULL), -EINVAL);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, 1, &c), 0);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, 1, &other), 0);
	assert_int_equal(value_of(c), 0);
	assert_int_equal(rmem_counter_add(c, 0), 0);
	assert_int_equal(rmem_counter_add(c, 5), 0);
	assert_int_equal(rmem_counter_add(other, 5), -EUSERS);
	assert_int_equal(rmem_counter_add(c, UINT64_MAX), 0); /* less one */
	assert_int_equal(value_of(other), 4);
	rmem_counter_destroy(c);
	assert_int_equal(rmem_counter_add(other, 3), 0);
	assert_int_equal(value_of(other), 7);
	assert_int_equal(rmem_counter_get(other, NULL), -EINVAL);
	assert_int_equal(rmem_counter_add(NULL, 1), -EINVAL);
	rmem_counter_destroy(other);
	rmem_counter_destroy(NULL);
	peer_scene_close(&sc);
}

/*
 * The memory is freed while a counter has a line there, and other memory lent at the same address, in which another
 * handle has added the same: whose line that is now is not what it was.
 */
static void test_counter_replaced(void **state)
{
	struct rmem_counter *c = NULL, *other = NULL;
	struct rmem_share_key key;
	struct peer_scene sc;
	struct rmem *rm;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	rm = lib_open(sc.rig->server, 0);
	lib_succeed(rmem_counter_create(sc.rm, sc.task.addr, 2, &c));
	lib_succeed(rmem_counter_add(c, 5));
	lib_replace(sc.rm, sc.task.addr, BYTES);
	lib_succeed(rmem_share(sc.rm, sc.task.addr, &key));
	lib_succeed(rmem_attach(rm, sc.task.addr, &key, NULL));
	lib_succeed(rmem_counter_create(rm, sc.task.addr, 2, &other));
	lib_succeed(rmem_counter_add(other, 5));
	lib_succeed(rmem_counter_add(c, 1));
	assert_int_equal(lib_read_word(sc.rm, sc.task.addr + 8), 5);
	assert_int_equal(lib_read_word(sc.rm, sc.task.addr + 64 + 8), 1);
	lib_succeed(rmem_counter_add(other, 1));
	assert_int_equal(value_of(c), 7);
	rmem_counter_destroy(other);
	lib_succeed(rmem_close(rm));
	rmem_counter_destroy(c);
	peer_scene_close(&sc);
}

/* Somebody writes over a line: it is looked for again, and what it says then is believed. */
static void test_counter_written_over(void **state)
{
	const uint64_t line[2] = { 0, 40 }; /* nobody's */
	struct rmem_counter *c = NULL, *other = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	lib_succeed(rmem_counter_create(sc.rm, sc.task.addr, 2, &c));
	lib_succeed(rmem_counter_create(sc.rm, sc.task.addr, 2, &other));
	lib_succeed(rmem_counter_add(c, 5));
	lib_succeed(rmem_write(sc.rm, sc.task.addr, line, sizeof(line)));
	lib_succeed(rmem_counter_add(other, 1)); /* it has that line now */
	lib_succeed(rmem_counter_add(c, 1));
	assert_int_equal(lib_read_word(sc.rm, sc.task.addr + 8), 41);
	assert_int_equal(lib_read_word(sc.rm, sc.task.addr + 64 + 8), 1);
	assert_int_equal(value_of(c), 42);
	rmem_counter_destroy(other);
	rmem_counter_destroy(c);
	peer_scene_close(&sc);
}

/* More processes than lines, one after the other killed: each line is taken over with what is in it. */
static void test_killed_adders(void **state)
{
	uint64_t sure = 0, open = 0, value;
	struct rmem_counter *c = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, LINES, &c), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < PEERS; i++)
			peer_scene_start(&sc, i, "adder", 1000000);
		for (int i = 0; i < PEERS; i++)
			for (int k = 0; k < 20; k++)
				assert_int_equal(peer_hear(&sc.peers[i]), 0);
		sure += 20 * PEERS + 30;
		for (int i = 0; i < 30; i++)
			assert_int_equal(rmem_counter_add(c, 1000), 0);
		for (int i = 0; i < PEERS; i++) {
			peer_kill(&sc.peers[i]);
			count(&sc.peers[i], &sure, &open);
			open++; /* the one that it was at */
			peer_end(&sc.peers[i]);
		}
	}
	value = value_of(c);
	assert_int_equal(value % 1000, 0);
	assert_true(value / 1000 >= sure && value / 1000 <= sure + open);
	assert_int_equal(value_of(c), value);
	rmem_counter_destroy(c);
	peer_scene_close(&sc);
}

static void test_adders_over_restarts(void **state)
{
	uint64_t sure = 0, open = 0, value;
	struct rmem_counter *c = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	assert_int_equal(rmem_counter_create(sc.rm, sc.task.addr, LINES, &c), 0);
	for (int i = 0; i < PEERS; i++)
		peer_scene_start(&sc, i, "adder", 300);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < PEERS; k++)
			for (int n = 0; n < 20; n++)
				(void)count_one(&sc.peers[k], &sure, &open);
		rig_kill(sc.rig);
		rig_start(sc.rig, peer_patient);
	}
	for (int i = 0; i < PEERS; i++) {
		count(&sc.peers[i], &sure, &open);
		peer_finish(&sc.peers[i]);
	}
	value = value_of(c);
	assert_int_equal(sure + open, 300 * PEERS);
	assert_true(value / 1000 >= sure && value / 1000 <= sure + open);
	assert_int_equal(value % 1000, 0);
	rmem_counter_destroy(c);
	peer_scene_close(&sc);
}

/* A value is one that somebody has written as a whole. */
static uint64_t read_whole(struct rmem_record *r)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	uint64_t words[WORDS];
	int rc;

	while ((rc = rmem_record_read(r, words)) == -EAGAIN && clock_boot_ns() < until_ns)
		;
	if (rc)
		fail_msg("%s", rmem_errmsg());
	for (unsigned k = 1; k < WORDS; k++)
		if (words[k] != words[0])
			fail_msg("torn: word %u is %llu, not %llu", k, (unsigned long long)words[k],
				(unsigned long long)words[0]);
	return words[0];
}

static void test_record(void **state)
{
	static uint64_t words[WORDS];
	struct rmem_record *r = NULL, *bad = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr, 0, &bad), -EINVAL);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr + 1, 8, &bad), -EINVAL);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr, 8, NULL), -EINVAL);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr, VALUE_BYTES, &r), 0);
	assert_int_equal(read_whole(r), 0);
	for (uint64_t i = 1; i < 20; i++) {
		for (unsigned k = 0; k < WORDS; k++)
			words[k] = i;
		assert_int_equal(rmem_record_write(r, words, 0), 0);
		assert_int_equal(read_whole(r), i);
	}
	assert_int_equal(rmem_record_read(r, NULL), -EINVAL);
	assert_int_equal(rmem_record_write(r, NULL, 0), -EINVAL);
	rmem_record_destroy(r);
	rmem_record_destroy(NULL);
	peer_scene_close(&sc);
}

static bool only_we_are_left(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "sessions.connected") == 1;
}

static void test_killed_writers(void **state)
{
	struct rmem_record *r = NULL;
	struct peer_scene sc;

	peer_scene_open(&sc, *state, peer_patient, BYTES);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr, VALUE_BYTES, &r), 0);
	for (int round = 0; round < 6; round++) {
		uint64_t last;

		for (int i = 0; i < 2; i++)
			peer_scene_start(&sc, i, "writer", (uint64_t)(i + 1) << 32);
		assert_int_equal(peer_hear(&sc.peers[0]), 0);
		assert_int_equal(peer_hear(&sc.peers[1]), 0);
		for (int i = 0; i < 60; i++)
			(void)read_whole(r);
		for (int i = 0; i < 2; i++) {
			peer_kill(&sc.peers[i]);
			(void)read_whole(r);
		}
		/* Nobody is left to write, nor is anything on its way that the dead have sent. */
		json_decref(rig_await(sc.rig, "status", only_we_are_left, NULL,
			"the connections of the dead to be gone"));
		last = read_whole(r);
		for (int i = 0; i < 5; i++)
			assert_true(read_whole(r) == last);
		peer_end(&sc.peers[0]);
		peer_end(&sc.peers[1]);
	}
	rmem_record_destroy(r);
	peer_scene_close(&sc);
}

/* Stop it while it has the record's lock, which is its first word. */
static void freeze_in_the_middle(struct peer_scene *sc, struct peer *p)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC, word = 0;

	for (;;) {
		peer_freeze(p);
		if (rmem_read(sc->rm, &word, sc->task.addr, sizeof(word)))
			fail_msg("%s", rmem_errmsg());
		if (word)
			return;
		if (clock_boot_ns() > until_ns)
			fail_msg("it never has the lock when it is stopped");
		peer_thaw(p);
	}
}

/* It goes on: has it been interrupted, says it, or does it write on? */
static bool says_it_was_interrupted(struct peer *p, struct rmem_record *r)
{
	struct pollfd news = { .fd = p->news, .events = POLLIN };
	int64_t said;

	while (poll(&news, 1, 0) == 0)
		if (read_whole(r) != 77)
			return false;
	said = peer_hear(p);
	assert_true(said == -ESTALE || said == -EOWNERDEAD || said == -EREMOTEIO);
	return true;
}

/* False: it had just finished a value when it was stopped. */
static bool stop_a_writer(struct peer_scene *sc, struct rmem_record *r)
{
	static uint64_t words[WORDS];
	struct peer *p = peer_scene_start(sc, 0, "writer", 1ULL << 32);
	bool interrupted;

	assert_int_equal(peer_hear(p), 0);
	freeze_in_the_middle(sc, p);
	for (unsigned k = 0; k < WORDS; k++)
		words[k] = 77;
	if (rmem_record_write(r, words, RIG_LIMIT_MS))
		fail_msg("%s", rmem_errmsg());
	for (int i = 0; i < 20; i++)
		assert_int_equal(read_whole(r), 77);
	peer_thaw(p);
	interrupted = says_it_was_interrupted(p, r);
	if (interrupted) {
		for (int i = 0; i < 100; i++)
			assert_int_equal(read_whole(r), 77);
		peer_tell(p);
		peer_finish(p);
	} else {
		peer_kill(p);
		peer_end(p);
	}
	return interrupted;
}

/* One that was stopped in the middle, and comes back, spoils nothing. */
static void test_stopped_writer(void **state)
{
	struct rmem_record *r = NULL;
	struct peer_scene sc;
	int tries = 1;

	peer_scene_open(&sc, *state, peer_brief, BYTES);
	assert_int_equal(rmem_record_create(sc.rm, sc.task.addr, VALUE_BYTES, &r), 0);
	while (!stop_a_writer(&sc, r))
		if (++tries > TRIES)
			fail_msg("in %d tries it was never in the middle of a value", TRIES);
	(void)read_whole(r);
	rmem_record_destroy(r);
	peer_scene_close(&sc);
}

int main(int argc, char **argv)
{
	static const struct peer_role roles[] = {
		{ "adder", play_adder },
		{ "writer", play_writer },
		{ NULL, NULL },
	};
	const struct CMUnitTest tests[] = {
		PEER_TEST(test_counter),
		PEER_TEST(test_counter_replaced),
		PEER_TEST(test_counter_written_over),
		PEER_TEST(test_killed_adders),
		PEER_TEST(test_adders_over_restarts),
		PEER_TEST(test_record),
		PEER_TEST(test_killed_writers),
		PEER_TEST(test_stopped_writer),
	};

	if (argc == 6)
		return peer_main(argv, roles);
	return rig_main(RIG_PORT_OBJECTS, tests, sizeof(tests) / sizeof(tests[0]));
}
