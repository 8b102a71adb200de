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
#include "tests/rxe/outside.h"

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
		fail_msg("%s: %s", strerror(-c->last.err), c->last.errinfo);
	return n;
}

static struct client *open_client(struct rig *r)
{
	struct client *c = client_start_puppet(r->server, TIMEOUT_MS);

	client_open(c);
	return c;
}

/* rmem_errmsg() of a full pool says how much this session and how much all others hold, and names no other holder. */
static void assert_tells(const char *errinfo, const char *own, const char *others, pid_t other)
{
	char pid_text[24];

	snprintf(pid_text, sizeof(pid_text), "[%d]", (int)other);
	if (!strstr(errinfo, "full") || !strstr(errinfo, own) || !strstr(errinfo, others))
		fail_msg("not \"%s\" and \"%s\": %s", own, others, errinfo);
	if (strstr(errinfo, pid_text) || strstr(errinfo, "test_full"))
		fail_msg("names another client: %s", errinfo);
}

/* The operator sees who it is. */
static void assert_shows_holder(struct rig *r, pid_t pid, const char *state, uint64_t bytes)
{
	json_t *sessions = rig_ask(r, "sessions");
	const json_t *holder = rig_session(sessions, pid);

	assert_non_null(holder);
	assert_non_null(strstr(rig_text(holder, "exe"), "test_full"));
	assert_string_equal(rig_text(holder, "state"), state);
	assert_int_equal(rig_number(holder, "block_bytes"), (long long)bytes);
	json_decref(sessions);
}

static void test_error_tells_amounts(void **state)
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
	assert_tells(big->last.errinfo, "this session holds 28.0 MiB in 7 blocks",
		"others together 4.0 MiB", small->pid);
	/* The other one is told what it holds; nothing of either is taken. */
	assert_int_equal(fill_up(small, &addrs[n], 1), 0);
	assert_tells(small->last.errinfo, "this session holds 4.0 MiB in 1 blocks",
		"others together 28.0 MiB", big->pid);
	assert_shows_holder(r, big->pid, "connected", 7 * BLOCK);
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
	assert_tells(heir->last.errinfo, "this session holds 0 B in 0 blocks",
		"others together 32.0 MiB", dead);
	assert_shows_holder(r, dead, "dead", blocks * BLOCK);
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

/* Nothing is leaked any more, and rmemctl leaks is not clean until the line is acknowledged: where rmemd runs. */
static void acknowledge_line(struct rig *r, pid_t dead)
{
	static struct rig_output out;
	char who[32];

	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	assert_int_equal(out.status, 1);
	assert_non_null(strstr(out.out, "1 line of history is not acknowledged"));
	snprintf(who, sizeof(who), "[%d]", (int)dead);
	rig_ctl_remote(r, (const char *const[]){ "leaks", "--reclaimed", NULL }, &out);
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.out, who));
	rig_ctl_remote(r, (const char *const[]){ "leaks", "--ack", "all", NULL }, &out);
	assert_int_equal(out.status, 3);
	assert_non_null(strstr(out.err, "only on the admin socket"));
	rig_ctl(r, (const char *const[]){ "leaks", "--ack", "2", NULL }, &out);
	assert_int_equal(out.status, 3);
	assert_non_null(strstr(out.err, "no line of history with that id"));
	rig_ctl(r, (const char *const[]){ "leaks", "--ack", "1", NULL }, &out);
	assert_int_equal(out.status, 0);
	assert_string_equal(out.err, "");
	rig_ctl(r, (const char *const[]){ "leaks", "--audit", NULL }, &out);
	assert_int_equal(out.status, 0);
}

/* What was taken is told by a line of history, which outlives rmemd, until somebody has seen it. */
static void test_history(void **state)
{
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
	acknowledge_line(r, dead);
	assert_int_equal(rig_ask_number(r, "reclaimed", "unacknowledged"), 0);
	assert_int_equal(rig_ask_number(r, "reclaimed", "lines_total"), 1);
	rig_stop(r, false);
}

/* What sessions of two pools lost, from the same call site: a line each. Beside the history stays what its times are in. */
static void test_history_of_two_pools(void **state)
{
	struct rig *r = *state;
	json_t *reclaimed;
	unsigned blocks[2];
	pid_t dead[2];
	char time[96];

	snprintf(time, sizeof(time), "%s/time", r->data);
	for (unsigned i = 0; i < 2; i++) {
		struct client *heir;

		rig_start(r, (const char *const[]){ "--size", "32M", NULL });
		dead[i] = fill_and_die(r, &blocks[i]);
		heir = open_client(r);
		client_free(heir, client_alloc(heir, BLOCK, RMEM_NODE_ANY));
		client_close(heir);
		rig_await_no_session(r);
		rig_stop(r, true);
		assert_int_equal(access(time, F_OK), 0);
	}
	rig_start(r, (const char *const[]){ "--size", "32M", NULL });
	reclaimed = rig_ask(r, "reclaimed");
	assert_int_equal(rig_number(reclaimed, "lines_total"), 2);
	for (unsigned i = 0; i < 2; i++) {
		const json_t *line = line_at(reclaimed, 1 - i);

		assert_int_equal(rig_number(line, "pid"), dead[i]);
		assert_int_equal(rig_number(line, "blocks"), blocks[i]);
	}
	assert_true(rig_number(line_at(reclaimed, 0), "session_serial") >
		    rig_number(line_at(reclaimed, 1), "session_serial"));
	json_decref(reclaimed);
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

/* A table that is full of the dead has room for the living: the earliest death makes it. */
static void test_table_full_of_the_dead(void **state)
{
	struct rig *r = *state;
	pid_t dead[6];

	rig_start(r, (const char *const[]){ "--size", "32M", "--max-sessions", "3", NULL });
	for (unsigned i = 0; i < 6; i++) {
		struct client *victim = open_client(r);

		assert_int_equal(victim->failures, 0);
		client_alloc(victim, BLOCK, RMEM_NODE_ANY);
		client_kill(victim);
		dead[i] = victim->pid;
		rig_await_dead(r, dead[i]);
	}
	for (unsigned i = 0; i < 6; i++) {
		json_t *sessions = rig_ask(r, "sessions");

		assert_true(!rig_session(sessions, dead[i]) == (i < 3));
		json_decref(sessions);
	}
	assert_leaked(r, 3, 3);
	assert_int_equal(rig_ask_number(r, "reclaimed", "lines_total"), 3);
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

/* ---- quotas ---- */

static struct client *open_client_of(struct rig *r, const char *job)
{
	struct client *c;

	assert_int_equal(setenv("RMEM_JOB", job, 1), 0);
	c = open_client(r);
	assert_int_equal(unsetenv("RMEM_JOB"), 0);
	return c;
}

static void assert_over_quota(struct client *c, const struct client_order *order, const char *who)
{
	client_do(c, order);
	if (c->last.err != -EDQUOT || !strstr(c->last.errinfo, who))
		fail_msg("not \"%s\": %s: %s", who, strerror(-c->last.err), c->last.errinfo);
}

static const struct client_order one_more = {
	.call = CLIENT_ALLOC, .bytes = BLOCK, .node = RMEM_NODE_ANY
};

/* What one session or job has used up fails no other; what is given back, or taken back from the dead, can be had again. */
static void test_quotas(void **state)
{
	static struct rig_output out;
	struct client *first, *second, *third, *stranger;
	struct rig *r = *state;
	uint64_t mine;
	pid_t dead;

	rig_start(r, (const char *const[]){ "--size", "48M", "--reclaim", "never",
			     "--quota-session", "bytes=8M", "--quota-job", "blocks=100",
			     "--quota-job", "train:bytes=12M", NULL });
	first = open_client_of(r, "train");
	second = open_client_of(r, "train");
	stranger = open_client_of(r, "");
	mine = client_alloc(first, BLOCK, RMEM_NODE_ANY);
	client_alloc(first, BLOCK, RMEM_NODE_ANY);
	assert_over_quota(first, &one_more,
		"session's quota is used up: it has 8.0 MiB of at most "
		"8.0 MiB, and asks for 4.0 MiB more");
	client_alloc(second, BLOCK, RMEM_NODE_ANY);
	assert_over_quota(second, &one_more,
		"its 2 sessions have together 12.0 MiB of at most "
		"12.0 MiB");
	client_alloc(stranger, BLOCK, RMEM_NODE_ANY);
	client_free(first, mine);
	client_alloc(second, BLOCK, RMEM_NODE_ANY); /* waits until that is wiped */

	/* The dead count until their memory is taken back. */
	dead = first->pid;
	client_kill(first);
	rig_await_dead(r, dead);
	third = open_client_of(r, "train");
	assert_over_quota(third, &one_more, "the quota of job train");
	rig_ctl(r, (const char *const[]){ "reclaim", "--yes", NULL }, &out);
	assert_int_equal(out.status, 0);
	client_alloc(third, BLOCK, RMEM_NODE_ANY);

	/* Changed while it runs. */
	assert_over_quota(third, &one_more, "the quota of job train");
	rig_ctl(r,
		(const char *const[]){
			"quota", "--session", "bytes=12M", "--job", "train:bytes=default", NULL },
		&out);
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.out, "each session  bytes 12.0 MiB\n"));
	assert_non_null(strstr(out.out, "each job      blocks 100\n"));
	client_alloc(third, BLOCK, RMEM_NODE_ANY);
	rig_ctl(r, (const char *const[]){ "quota", "--job", "windows=1", NULL }, &out);
	assert_int_equal(out.status, 3);
	assert_non_null(strstr(out.err, "windows are limited per session"));
	client_end_all();
	rig_stop(r, true);
}

static void test_quota_of_windows(void **state)
{
	struct rig *r = *state;
	struct client *c;
	uint64_t addrs[3];
	json_t *sessions;

	rig_start(
		r, (const char *const[]){ "--size", "32M", "--quota-session", "windows=2", NULL });
	c = open_client(r);
	for (unsigned i = 0; i < 3; i++)
		addrs[i] = client_alloc(c, BLOCK, RMEM_NODE_ANY);
	client_fill(c, addrs[0], 64, 1);
	client_fill(c, addrs[1], 64, 2);
	assert_over_quota(c,
		&(struct client_order){
			.call = CLIENT_FILL, .addr = addrs[2], .bytes = 64, .seed = 3 },
		"2 windows of at most 2 windows");
	sessions = rig_ask(r, "sessions");
	assert_int_equal(rig_number(rig_session(sessions, c->pid), "quota.used.windows"), 2);
	json_decref(sessions);
	client_free(c, addrs[0]);
	client_fill(c, addrs[2], 64, 3);
	client_check(c, addrs[1], 64, 2);
	client_free(c, addrs[1]);
	client_free(c, addrs[2]);
	client_close(c);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_error_tells_amounts),
		RIG_TEST(test_never_keeps_the_dead),
		RIG_TEST(test_pressure_takes_from_the_dead),
		RIG_TEST(test_takes_in_order),
		RIG_TEST(test_takes_from_several),
		RIG_TEST(test_history),
		RIG_TEST(test_history_of_two_pools),
		RIG_TEST(test_room_of_the_just_dead),
		RIG_TEST(test_impossible_request),
		RIG_TEST(test_table_full_of_the_dead),
		RIG_TEST(test_reclaim_after_a_while),
		RIG_TEST(test_quotas),
		RIG_TEST(test_quota_of_windows),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_FULL, tests, sizeof(tests) / sizeof(tests[0]));
}
