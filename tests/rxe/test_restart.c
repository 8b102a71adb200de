/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd goes away under its clients: killed and started again, killed for good, stopped cleanly. What
 * it has lent survives it, byte for byte, and nothing counts as lost in between.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/rxe/client.h"
#include "tests/rxe/raw_session.h"

#define BLOCK 100000ULL
#define WORKERS 3
#define KILLS_ALL 10
#define KILLS 4
#define TIMEOUT_MS 6000 /* of calls that are to time out: all else must fit into it */
#define CM_LIMIT_MS \
	50000 /* the connection manager's own is a minute: what ends before was ended by us */

static bool all_are_back(const json_t *status, void *arg)
{
	return rig_number(status, "sessions.connected") == *(int *)arg;
}

static void assert_nothing_is_lost(struct rig *r, long long blocks)
{
	json_t *leaks = rig_ask(r, "leaks");

	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 0);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	if (blocks >= 0)
		assert_int_equal(rig_number(leaks, "coverage.allocations_total"), blocks);
	rig_assert_accounted(leaks);
	json_decref(leaks);
}

static void test_killed_and_restarted(void **state)
{
	uint64_t addrs[8];
	struct rig *r = *state;
	struct client *c;
	int clients = 1;

	rig_start(r, NULL);
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	for (unsigned i = 0; i < 8; i++) {
		addrs[i] = client_alloc(c, BLOCK + i, RMEM_NODE_ANY);
		client_fill(c, addrs[i], BLOCK + i, 100 + i);
	}
	rig_kill(r);
	rig_start(r, NULL);
	assert_nothing_is_lost(r, 8);
	for (unsigned i = 0; i < 8; i++)
		client_check(c, addrs[i], BLOCK + i, 100 + i);
	json_decref(rig_await(r, "status", all_are_back, &clients, "the client is back"));
	assert_nothing_is_lost(r, 8);
	for (unsigned i = 0; i < 8; i++) {
		client_fill(c, addrs[i], BLOCK + i, 200 + i);
		client_check(c, addrs[i], BLOCK + i, 200 + i);
		client_free(c, addrs[i]);
	}
	client_close(c);
	rig_stop(r, false);
}

/* Killed while clients allocate and free as fast as they can. */
static void test_killed_under_load(void **state)
{
	struct client *workers[WORKERS];
	struct rig *r = *state;
	const unsigned kills = rig_rounds(KILLS_ALL, KILLS);
	uint64_t before[WORKERS];
	json_t *map;

	rig_start(r, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		const struct client_work work = {
			.seed = 31 + i, .max_held = 8, .max_bytes = 30000, .persistent = true
		};

		workers[i] = client_start_worker(r->server, &work);
		before[i] = 0;
	}
	for (unsigned kill = 0; kill < kills; kill++) {
		/* Each has done some more since the last time. */
		for (unsigned i = 0; i < WORKERS; i++)
			client_await_calls(workers[i], before[i] + 20);
		rig_kill(r);
		for (unsigned i = 0; i < WORKERS; i++)
			client_freeze(workers[i]);
		rig_start(r, NULL);
		assert_nothing_is_lost(r, -1);
		map = rig_ask(r, "{\"cmd\":\"map\",\"limit\":100000}");
		for (unsigned i = 0; i < WORKERS; i++) {
			client_assert_map(workers[i], map);
			before[i] = workers[i]->calls;
		}
		json_decref(map);
		for (unsigned i = 0; i < WORKERS; i++)
			client_thaw(workers[i]);
	}
	/* Each verifies all it holds, frees it and closes. */
	for (unsigned i = 0; i < WORKERS; i++) {
		client_finish(workers[i]);
		assert_int_equal(workers[i]->nheld, 0);
	}
	assert_nothing_is_lost(r, 0);
	rig_stop(r, false);
}

static void test_killed_for_good(void **state)
{
	const struct client_order alloc = {
		.call = CLIENT_ALLOC, .bytes = BLOCK, .node = RMEM_NODE_ANY
	};
	struct client_order order = { .bytes = BLOCK, .seed = 1 };
	const struct client_record *last;
	struct rig *r = *state;
	struct client *c;

	rig_start(r, NULL);
	c = client_start_puppet(r->server, TIMEOUT_MS);
	client_open(c);
	order.addr = client_alloc(c, BLOCK, RMEM_NODE_ANY);
	client_fill(c, order.addr, BLOCK, 1);
	rig_kill(r);
	for (order.call = CLIENT_CLOSE; order.call <= CLIENT_CHECK; order.call++) {
		if (order.call == CLIENT_CLOSE)
			continue; /* that one comes last */
		last = client_do(c, order.call == CLIENT_ALLOC ? &alloc : &order);
		printf("call %u: %s after %u ms: %s\n", last->call, strerror(-last->err),
			last->took_ms, last->errinfo);
		assert_true(last->err == -ECONNRESET || last->err == -ETIMEDOUT);
		assert_true(last->took_ms < CM_LIMIT_MS);
		assert_true(strlen(last->errinfo) > 10);
	}
	order.call = CLIENT_CLOSE;
	last = client_do(c, &order);
	assert_true(last->took_ms < CM_LIMIT_MS);
	client_finish(c);
	/* Nobody loses anything: who starts it again finds the block, and that its holder is gone. */
	rig_start(r, NULL);
	assert_int_equal(rig_ask_number(r, "status", "allocations.bytes"), (long long)BLOCK);
	rig_stop(r, true);
}

static void test_stopped_cleanly(void **state)
{
	uint64_t addr;
	struct rig *r = *state;
	struct client *c;

	rig_start(r, NULL);
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	addr = client_alloc(c, BLOCK, RMEM_NODE_ANY);
	client_fill(c, addr, BLOCK, 5);
	rig_stop(r, true);
	rig_start(r, NULL);
	assert_nothing_is_lost(r, 1);
	client_check(c, addr, BLOCK, 5);
	client_free(c, addr);
	client_close(c);
	rig_stop(r, false);
}

/* The client dies while there is no server: the next one finds out. */
static void test_died_meanwhile(void **state)
{
	struct rig *r = *state;
	struct client *c;
	json_t *leaks;

	rig_start(r, (const char *const[]){ "--reclaim", "never", NULL });
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	client_alloc(c, BLOCK, RMEM_NODE_ANY);
	rig_kill(r);
	client_kill(c);
	rig_start(r, (const char *const[]){ "--reclaim", "never", NULL });
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 1);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), (long long)BLOCK);
	assert_int_equal(rig_number(leaks, "records.0.holders.0.pid"), c->pid);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	rig_stop(r, true);
}

/* ---- requests whose answer did not come ---- */

static void expect_timeout(struct client *c, const struct client_order *order)
{
	const struct client_record *record = client_do(c, order);

	if (record->err != -ETIMEDOUT)
		fail_msg("%d instead of -ETIMEDOUT: %s", record->err, record->errinfo);
}

/* What the server did after its client had given up waiting is undone, or taken for done. */
static void test_given_up(void **state)
{
	struct client_order order = { .bytes = BLOCK, .node = RMEM_NODE_ANY };
	struct rig *r = *state;
	struct client *c;
	uint64_t kept;
	json_t *map;

	for (int restart = 0; restart < 2; restart++) {
		rig_start(r, NULL);
		c = client_start_puppet(r->server, TIMEOUT_MS);
		client_open(c);
		kept = client_alloc(c, BLOCK, RMEM_NODE_ANY);
		for (unsigned call = CLIENT_ALLOC; call <= CLIENT_FREE; call++) {
			rig_freeze(r);
			order.call = call;
			order.addr = kept;
			expect_timeout(c, &order);
			if (restart)
				rig_kill(r);
			if (restart)
				rig_start(r, NULL);
			else
				rig_thaw(r);
			if (call == CLIENT_FREE)
				client_free(c, kept);
			else
				client_free(c, client_alloc(c, 1, RMEM_NODE_ANY));
		}
		map = rig_ask(r, "map");
		client_assert_map(c, map);
		json_decref(map);
		order.call = CLIENT_CHECK;
		assert_int_equal(client_do(c, &order)->err, -EFAULT);
		assert_nothing_is_lost(r, 0);
		client_close(c);
		rig_stop(r, false);
	}
}

/* A connection later, perhaps a server later: the session is back. */
static void come_back(struct rig *r, struct raw_session *s, struct raw **raw, bool restart)
{
	raw_close(*raw);
	if (restart) {
		rig_kill(r);
		rig_start(r, NULL);
	}
	assert_int_equal(raw_connect(r->port, NULL, raw), 0);
	assert_int_equal(raw_hello(*raw, s), 0);
}

/* A request that is sent again, because its answer was lost, is carried out once. */
static void test_repeated_requests(void **state)
{
	struct grant_reply first, again, other;
	struct raw_session s;
	struct rig *r = *state;
	struct raw *raw;
	uint32_t seq;

	rig_start(r, NULL);
	raw_session_init(&s);
	assert_int_equal(raw_open(r->port, &s, &raw), 0);
	for (int restart = 0; restart < 2; restart++) {
		assert_int_equal(raw_alloc(raw, BLOCK, &first), 0);
		seq = raw->seq;
		come_back(r, &s, &raw, restart);
		raw->seq = seq - 1;
		assert_int_equal(raw_alloc(raw, BLOCK, &again), 0);
		assert_true(again.addr == first.addr);
		assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 1);

		assert_int_equal(raw_free(raw, first.addr), 0);
		seq = raw->seq;
		come_back(r, &s, &raw, restart);
		raw->seq = seq - 1;
		assert_int_equal(raw_free(raw, first.addr), 0);
		/* With a number of its own it is another request, and wrong. */
		assert_int_equal(raw_free(raw, first.addr), -EINVAL);
		assert_int_equal(raw_alloc(raw, BLOCK, &other), 0);
		assert_int_equal(raw_free(raw, other.addr), 0);
		assert_nothing_is_lost(r, 0);
	}
	assert_int_equal(raw_bye(raw), 0);
	raw_close(raw);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_killed_and_restarted),
		RIG_TEST(test_killed_under_load),
		RIG_TEST(test_killed_for_good),
		RIG_TEST(test_stopped_cleanly),
		RIG_TEST(test_died_meanwhile),
		RIG_TEST(test_given_up),
		RIG_TEST(test_repeated_requests),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_RESTART, tests, sizeof(tests) / sizeof(tests[0]));
}
