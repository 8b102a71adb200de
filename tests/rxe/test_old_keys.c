/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client with keys that were right once, or are right elsewhere: of freed memory, of a lease that
 * ended, of other connections, of a killed process. Every access must be refused by the device, no byte may
 * change, and the honest clients beside it may not notice. The last test says how many there were.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/scene.h"

#define SHORT_TTL_MS 12000
#define ATTEMPTS_MIN_ALL 800
#define ATTEMPTS_MIN 250
#define HOLDER "holder" /* a role of this program */

/* All keys of somebody, several times, while somebody stays alive who may be connected. */
static void replay_all(
	struct scene *s, const struct party *whose, unsigned times, struct party *alive)
{
	for (unsigned i = 0; i < whose->ngrants * times; i++) {
		scene_replay(s, &whose->grants[i % whose->ngrants], i);
		party_renew(alive);
	}
}

/* Somebody who comes back, with new grants: the bytes are there, an old key is worth nothing. */
static void come_back_with(struct scene *s, struct party *p, struct grant_reply old, unsigned turn)
{
	party_resume(p, SCENE_OTHERS);
	party_verify(p);
	scene_attempt(
		s, party_take(p, 0), scene_opcodes[turn % SCENE_OPCODES], old.addr, 8, old.rkey);
}

/* ---- after free ---- */

static void replay_after_free(void **state)
{
	struct grant_reply freed[40];
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(raw_alloc(s->own.raw, 64 + i * 512, &freed[i]), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(raw_free(s->own.raw, freed[i].addr), 0);
	/* First where the keys were made, then from everywhere. */
	scene_attempt(
		s, party_take(&s->own, 0), IBV_WR_RDMA_WRITE, freed[0].addr, 64, freed[0].rkey);
	for (unsigned i = 0; i < 40; i += rig_rounds(1, 3))
		scene_replay(s, &freed[i], i);
	scene_end(s);
}

/* The key of memory freed and lent again at once, on the connection where it was made. */
static void replay_in_the_next_owners_memory(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned i = 0; i < 60; i++) {
		struct raw *raw = party_take(&s->own, 0);
		struct grant_reply old, next;

		assert_int_equal(raw_alloc(raw, 4096, &old), 0);
		assert_int_equal(raw_free(raw, old.addr), 0);
		assert_int_equal(raw_alloc(s->other.raw, 4096, &next), 0);
		scene_attempt(s, raw, scene_opcodes[i % SCENE_OPCODES],
			i % 2 ? old.addr : next.addr, 8, old.rkey);
		assert_int_equal(raw_free(s->other.raw, next.addr), 0);
	}
	scene_end(s);
}

/* ---- after expiry ---- */

static void replay_after_expiry(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SHORT_TTL_MS);
	struct party lazy = { 0 };
	const uint64_t sizes[SCENE_OTHERS] = { 64, 128, 4096, 4096, 8192, 16384, 32768, 65536 };
	uint64_t until_ns = clock_boot_ns() + 6ULL * SHORT_TTL_MS * NSEC_PER_MSEC;

	party_leave(&s->own);
	party_open(&lazy, s->rig->port, sizes, SCENE_OTHERS, 300);
	while (raw_wait_gone(lazy.raw, 100 * NSEC_PER_MSEC)) {
		party_renew(&s->other);
		assert_true(clock_boot_ns() < until_ns);
	}
	assert_true(rig_ask_number(s->rig, "status", "counters.expiries") >= 1);
	assert_int_not_equal(raw_access(lazy.raw, IBV_WR_RDMA_WRITE, lazy.grants[2].addr, 8,
				     lazy.grants[2].rkey),
		IBV_WC_SUCCESS);
	party_leave(&lazy);
	replay_all(s, &lazy, 6, &lazy);
	/* In its courtesy. */
	for (unsigned i = 0; i < SCENE_OTHERS; i++)
		come_back_with(s, &lazy, lazy.grants[i], i);
	scene_end(s);
}

/* ---- other connections ---- */

static void keys_of_other_connections(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);
	struct party twin = { 0 };
	const uint64_t sizes[SCENE_OWN] = { 64, 4096, 8192, 65536 };

	party_leave(&s->own);
	party_open(&twin, s->rig->port, sizes, SCENE_OWN, 400);
	replay_all(s, &s->other, rig_rounds(6, 2), &twin);
	/* Keys of a session of ours, which is connected and alive. */
	replay_all(s, &twin, rig_rounds(4, 1), &twin);
	party_verify(&twin);
	party_leave(&twin);
	scene_end(s);
}

/* ---- killed, resumed ---- */

struct held {
	struct raw_session session;
	struct grant_reply grants[SCENE_OTHERS];
};

/* The role: hold memory, tell everything, wait to be killed. */
static int holder(uint16_t port)
{
	struct held held;
	struct raw *r = NULL;

	memset(&held, 0, sizeof(held));
	raw_session_init(&held.session);
	if (raw_open(port, &held.session, &r))
		return 1;
	for (unsigned i = 0; i < SCENE_OTHERS; i++) {
		struct grant_reply *g = &held.grants[i];

		if (raw_alloc(r, 4096, g))
			return 1;
		pattern_fill(raw_data(r), g->bytes, 500 + i);
		if (raw_access(r, IBV_WR_RDMA_WRITE, g->addr, g->bytes, g->rkey))
			return 1;
	}
	return process_speak(&held, sizeof(held));
}

static void keys_of_a_killed_process(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	party_leave(&s->own);
	for (unsigned round = 0; round < rig_rounds(4, 2); round++) {
		struct party heir = { .port = s->rig->port, .seed = 500, .ngrants = SCENE_OTHERS };
		struct process process;
		struct held held;
		int to;

		process_start_speaker(&process, HOLDER, s->rig->port, &held, sizeof(held), &to);
		heir.session = held.session;
		process_signal(&process, SIGKILL);
		process_wait(&process, RIG_LIMIT_MS, "the holder");
		close(to);
		memcpy(heir.grants, held.grants, sizeof(held.grants));
		replay_all(s, &heir, 1, &heir);
		for (unsigned i = 0; i < SCENE_OTHERS; i++)
			come_back_with(s, &heir, held.grants[i], i);
	}
	scene_end(s);
}

/* ---- the sum ---- */

static void all_attempts(void **state)
{
	(void)state;
	scene_assert_attempts(rig_rounds(ATTEMPTS_MIN_ALL, ATTEMPTS_MIN));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(replay_after_free),
		RIG_TEST(replay_in_the_next_owners_memory),
		RIG_TEST(replay_after_expiry),
		RIG_TEST(keys_of_other_connections),
		RIG_TEST(keys_of_a_killed_process),
		RIG_TEST(all_attempts),
	};

	if (argc > 2 && strcmp(argv[1], HOLDER) == 0)
		return holder((uint16_t)strtoul(argv[2], NULL, 10));
	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_OLD_KEYS, tests, sizeof(tests) / sizeof(tests[0]));
}
