/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool that is full: what the error says, and whose memory is taken back under which policy. */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rmem/rmem.h"
#include "tests/rxe/client.h"

#define MIB (1ULL << 20)
#define BLOCK (4 * MIB)
#define TIMEOUT_MS RIG_LIMIT_MS

/* Allocate blocks until the pool says no; returns how many, and the refusal in c->last. */
static unsigned fill_up(struct client *c, uint64_t *addrs, unsigned max)
{
	const struct client_order order = {
		.call = CLIENT_ALLOC, .bytes = BLOCK, .node = RMEM_NODE_ANY
	};
	unsigned n = 0;

	while (client_do(c, &order)->err == 0) {
		assert_true(n < max);
		addrs[n++] = c->last.addr;
	}
	if (c->last.err != -ENOSPC)
		fail_msg("%s: %s", strerror(-c->last.err), c->last.why);
	return n;
}

static struct client *open_client(struct rig *r)
{
	struct client *c = client_start_puppet(r->server, TIMEOUT_MS);

	client_open(c);
	return c;
}

/* rmem_errmsg() of a full pool names who holds most: program, pid, bytes. */
static void assert_names_holder(const char *why, pid_t pid, const char *bytes)
{
	char pid_text[24];

	snprintf(pid_text, sizeof(pid_text), "[%d]", (int)pid);
	if (!strstr(why, "full") || !strstr(why, pid_text) || !strstr(why, "test_full") ||
		!strstr(why, bytes))
		fail_msg("does not name test_full%s with %s: %s", pid_text, bytes, why);
}

static void test_error_names_top_holder(void **state)
{
	struct client *small, *big;
	uint64_t addrs[64], mine;
	struct rig *r = *state;
	unsigned n;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	small = open_client(r);
	big = open_client(r);
	mine = client_alloc(small, BLOCK, RMEM_NODE_ANY);
	n = fill_up(big, addrs, 64);
	assert_int_equal(n, 7);
	assert_names_holder(big->last.why, big->pid, "28.0 MiB");
	/* The other, who holds little, is told the same; nothing of either is taken. */
	assert_int_equal(fill_up(small, &addrs[n], 1), 0);
	assert_names_holder(small->last.why, big->pid, "28.0 MiB");
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 8);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), 0);
	/* What is given back can be had again, and is zero. */
	client_fill(big, addrs[3], BLOCK, 9);
	client_free(big, addrs[3]);
	addrs[3] = client_alloc(small, BLOCK, RMEM_NODE_ANY);
	client_check(small, addrs[3], BLOCK, 0);
	client_free(small, addrs[3]);
	client_free(small, mine);
	for (unsigned i = 0; i < n; i++) {
		if (i != 3)
			client_free(big, addrs[i]);
	}
	client_close(small);
	client_close(big);
	rig_stop(r, false);
}

/* A client takes the whole pool, writes it and is killed. Returns its pid. */
static pid_t fill_and_die(struct rig *r, unsigned *out_blocks)
{
	struct client *victim = open_client(r);
	uint64_t addrs[64];

	*out_blocks = fill_up(victim, addrs, 64);
	for (unsigned i = 0; i < *out_blocks; i++)
		client_fill(victim, addrs[i], BLOCK, 1000 + i);
	client_kill(victim);
	return victim->pid;
}

static bool is_forgotten(const json_t *sessions, void *arg)
{
	return !rig_session(sessions, *(pid_t *)arg);
}

static void test_never_keeps_the_dead(void **state)
{
	struct rig *r = *state;
	struct client *heir;
	unsigned blocks;
	json_t *leaks;
	uint64_t addr;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "32M", "--reclaim", "never", NULL });
	dead = fill_and_die(r, &blocks);
	assert_int_equal(blocks, 8);
	rig_await_dead(r, dead);
	heir = open_client(r);
	assert_int_equal(fill_up(heir, &addr, 1), 0);
	assert_names_holder(heir->last.why, dead, "32.0 MiB");
	if (!strstr(heir->last.why, "dead"))
		fail_msg("does not say that the holder is dead: %s", heir->last.why);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), blocks);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), (long long)(blocks * BLOCK));
	rig_assert_accounted(leaks);
	json_decref(leaks);
	client_close(heir);
	rig_stop(r, true);
}

static void test_pressure_takes_from_the_dead(void **state)
{
	struct rig *r = *state;
	uint64_t addrs[64];
	struct client *heir;
	unsigned blocks;
	json_t *leaks;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	dead = fill_and_die(r, &blocks);
	rig_await_dead(r, dead);
	/* Without pressure it stays, as evidence. */
	assert_int_equal(rig_ask_number(r, "leaks", "summary.definite.blocks"), blocks);
	heir = open_client(r);
	assert_int_equal(fill_up(heir, addrs, 64), blocks);
	for (unsigned i = 0; i < blocks; i++)
		client_check(heir, addrs[i], BLOCK, 0);
	json_decref(rig_await(r, "sessions", is_forgotten, &dead, "the dead session is gone"));
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 0);
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), blocks);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), blocks);
	for (unsigned i = 0; i < blocks; i++)
		client_free(heir, addrs[i]);
	client_close(heir);
	rig_stop(r, false);
}

/* ---- whose memory goes ---- */

/* A full pool: one client holds all but the blocks of a victim, which is killed. Returns its pid. */
static pid_t die_with(struct rig *r, struct client *keeper, const uint64_t *addrs, unsigned n)
{
	struct client *victim = open_client(r);

	for (unsigned i = 0; i < n; i++) {
		client_free(keeper, addrs[i]);
		assert_true(client_alloc(victim, BLOCK, RMEM_NODE_ANY) == addrs[i]);
	}
	client_kill(victim);
	rig_await_dead(r, victim->pid);
	return victim->pid;
}

static int compare_addrs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int alloc_error(struct client *c, uint64_t bytes)
{
	const struct client_order order = {
		.call = CLIENT_ALLOC, .bytes = bytes, .node = RMEM_NODE_ANY
	};

	return client_do(c, &order)->err;
}

static void assert_leaked(struct rig *r, unsigned blocks, unsigned reclaimed)
{
	json_t *leaks = rig_ask(r, "leaks");

	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), blocks);
	assert_int_equal(rig_number(leaks, "coverage.reclaimed_blocks"), reclaimed);
	assert_int_equal(rig_number(leaks, "coverage.reclaimed_bytes"), reclaimed * BLOCK);
	rig_assert_accounted(leaks);
	json_decref(leaks);
}

/* The earliest death first, and no more than as much as is asked for. */
static void test_takes_in_order(void **state)
{
	struct rig *r = *state;
	struct client *keeper;
	uint64_t addrs[64];
	pid_t first, second;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	keeper = open_client(r);
	assert_int_equal(fill_up(keeper, addrs, 64), 8);
	first = die_with(r, keeper, addrs, 2);
	second = die_with(r, keeper, &addrs[2], 3);
	assert_leaked(r, 5, 0);
	client_alloc(keeper, BLOCK, RMEM_NODE_ANY);
	json_decref(rig_await(r, "sessions", is_forgotten, &first, "the first one is gone"));
	assert_leaked(r, 3, 2);
	client_alloc(keeper, BLOCK, RMEM_NODE_ANY);
	assert_leaked(r, 3, 2);
	client_alloc(keeper, BLOCK, RMEM_NODE_ANY);
	json_decref(rig_await(r, "sessions", is_forgotten, &second, "the second one is gone"));
	assert_leaked(r, 0, 5);
	client_close(keeper);
	rig_stop(r, true);
}

/* Several dead ones have a part each of what is needed: one after the other loses its memory until there is room. */
static void test_takes_from_several(void **state)
{
	struct rig *r = *state;
	struct client *keeper;
	uint64_t addrs[64];

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	keeper = open_client(r);
	assert_int_equal(fill_up(keeper, addrs, 64), 8);
	qsort(addrs, 8, sizeof(addrs[0]), compare_addrs);
	die_with(r, keeper, &addrs[5], 1);
	for (unsigned i = 0; i < 4; i++)
		die_with(r, keeper, &addrs[i], 1);
	/* More than a node has when it is empty: nothing is taken for that. */
	assert_int_equal(alloc_error(keeper, 8 * BLOCK), -EFBIG);
	assert_leaked(r, 5, 0);
	assert_true(client_alloc(keeper, 4 * BLOCK, RMEM_NODE_ANY) == addrs[0]);
	assert_leaked(r, 0, 5);
	client_close(keeper);
	rig_stop(r, true);
}

static const json_t *line_at(const json_t *reclaimed, size_t i)
{
	return json_array_get(json_object_get(reclaimed, "lines"), i);
}

/* What was taken is told by a line of history, which outlives rmemd, until somebody has seen it. */
static void test_history(void **state)
{
	static const char acknowledge[] = "{\"cmd\":\"acknowledge\",\"id\":\"all\"}";
	struct rig *r = *state;
	struct client *heir;
	json_t *reclaimed;
	uint64_t addr;
	unsigned blocks;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	dead = fill_and_die(r, &blocks);
	heir = open_client(r);
	addr = client_alloc(heir, BLOCK, RMEM_NODE_ANY);
	json_decref(rig_await(r, "sessions", is_forgotten, &dead, "the dead session is gone"));
	assert_int_equal(rig_ask_number(r, "leaks", "coverage.unacknowledged"), 1);
	client_free(heir, addr);
	client_close(heir);
	rig_await_no_session(r);
	/* Nobody holds anything, and the history is kept all the same. */
	rig_stop(r, true);
	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	reclaimed = rig_ask(r, "reclaimed");
	assert_int_equal(rig_number(reclaimed, "lines_total"), 1);
	assert_int_equal(rig_number(line_at(reclaimed, 0), "pid"), dead);
	assert_int_equal(rig_number(line_at(reclaimed, 0), "blocks"), blocks);
	assert_int_equal(rig_number(line_at(reclaimed, 0), "bytes"), (long long)(blocks * BLOCK));
	assert_string_equal(
		json_string_value(json_object_get(line_at(reclaimed, 0), "session_state")), "dead");
	json_decref(reclaimed);
	assert_int_equal(rig_ask_number(r, "leaks", "coverage.unacknowledged"), 1);
	assert_int_equal(rig_ask_number(r, acknowledge, "unacknowledged"), 0);
	assert_int_equal(rig_ask_number(r, "reclaimed", "lines_total"), 1);
	rig_stop(r, false);
}

/* Nobody has to know yet that the holder is dead: whoever needs the room finds out. */
static void test_room_of_the_just_dead(void **state)
{
	struct rig *r = *state;
	uint64_t addrs[64];
	struct client *heir;
	unsigned blocks;
	json_t *leaks;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	for (unsigned i = 0; i < 5; i++) {
		fill_and_die(r, &blocks);
		heir = open_client(r);
		assert_int_equal(fill_up(heir, addrs, 64), blocks);
		for (unsigned k = 0; k < blocks; k++)
			client_free(heir, addrs[k]);
		client_close(heir);
	}
	leaks = rig_ask(r, "leaks");
	rig_assert_accounted(leaks);
	json_decref(leaks);
	rig_stop(r, false);
}

/* What can never fit is no reason to take anything from anybody. */
static void test_impossible_request(void **state)
{
	struct client_order order = { .call = CLIENT_ALLOC, .node = RMEM_NODE_ANY };
	struct rig *r = *state;
	struct client *heir;
	unsigned blocks;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	dead = fill_and_die(r, &blocks);
	rig_await_dead(r, dead);
	heir = open_client(r);
	order.bytes = 64 * MIB;
	assert_int_equal(client_do(heir, &order)->err, -EFBIG);
	order.bytes = 1ULL << 40;
	assert_int_equal(client_do(heir, &order)->err, -EFBIG);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), 0);
	assert_int_equal(rig_ask_number(r, "leaks", "summary.definite.blocks"), blocks);
	client_close(heir);
	rig_stop(r, true);
}

static void test_reclaim_after_a_while(void **state)
{
	struct rig *r = *state;
	struct client *heir;
	unsigned blocks;
	json_t *leaks;
	uint64_t addr;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "32M", "--reclaim", "1s", NULL });
	dead = fill_and_die(r, &blocks);
	json_decref(rig_await(r, "sessions", is_forgotten, &dead, "the dead session is gone"));
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "coverage.allocations_total"), 0);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), blocks);
	heir = open_client(r);
	addr = client_alloc(heir, BLOCK, RMEM_NODE_ANY);
	client_check(heir, addr, BLOCK, 0);
	client_free(heir, addr);
	client_close(heir);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_error_names_top_holder),
		RIG_TEST(test_never_keeps_the_dead),
		RIG_TEST(test_pressure_takes_from_the_dead),
		RIG_TEST(test_takes_in_order),
		RIG_TEST(test_takes_from_several),
		RIG_TEST(test_history),
		RIG_TEST(test_room_of_the_just_dead),
		RIG_TEST(test_impossible_request),
		RIG_TEST(test_reclaim_after_a_while),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_FULL, tests, sizeof(tests) / sizeof(tests[0]));
}
