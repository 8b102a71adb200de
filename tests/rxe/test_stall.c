/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that stand still. A server that does may not blame its clients (one that is only busy may); a client that does past
 * its term loses access, keeps its bytes as long as there is room, and finds either its own bytes or
 * -ESTALE when it wakes, never somebody else's.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/rxe/client.h"
#include "tests/rxe/raw_session.h"

#define MIB (1ULL << 20)
#define BLOCK (1 * MIB)
#define POOL_BLOCKS 16
#define TTL_MS 3000

#define LIVING 3U
#define HELD 4U

struct sleeper {
	struct client *client;
	uint64_t addrs[HELD];
};

static const char *const options_never[] = { "--size", "16M", "--ttl", "3s", "--reclaim", "never",
	NULL };
static const char *const options_pressure[] = { "--size", "16M", "--ttl", "3s", NULL };

static uint64_t seed_of(const struct client *c, unsigned block)
{
	return (uint64_t)c->pid * 1000 + block;
}

static void start_sleeper(struct rig *r, struct sleeper *s)
{
	s->client = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(s->client);
	for (unsigned i = 0; i < HELD; i++) {
		s->addrs[i] = client_alloc(s->client, BLOCK, RMEM_NODE_ANY);
		client_fill(s->client, s->addrs[i], BLOCK, seed_of(s->client, i));
	}
}

static void check_sleeper(const struct sleeper *s)
{
	for (unsigned i = 0; i < HELD; i++)
		client_check(s->client, s->addrs[i], BLOCK, seed_of(s->client, i));
}

static void end_sleeper(const struct sleeper *s)
{
	for (unsigned i = 0; i < HELD; i++)
		client_free(s->client, s->addrs[i]);
	client_close(s->client);
	client_finish(s->client);
}

/* ---- the server stands still ---- */

static bool has_noticed_stall(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "stalls") > 0 && rig_number(status, "stalled_ms") >= TTL_MS;
}

static void test_frozen_server_expires_nobody(void **state)
{
	struct sleeper clients[LIVING];
	struct raw_session session;
	struct rig *r = *state;
	json_t *status, *leaks;
	struct raw *silent;

	rig_start(r, options_pressure);
	for (unsigned i = 0; i < LIVING; i++)
		start_sleeper(r, &clients[i]);
	raw_session_init(&session);
	assert_int_equal(raw_open(r->port, &session, &silent), 0);
	rig_freeze(r);
	rig_elapse(2 * TTL_MS);
	rig_thaw(r);
	/* This one: on a busy machine there are others, and shorter ones, before. */
	json_decref(rig_await(r, "status", has_noticed_stall, NULL, "the stall is noticed"));
	/*
	 * The others have renewed meanwhile, which needs no server. This one has only the excuse; without it two ticks
	 * would end its lease.
	 */
	rig_elapse(TTL_MS / 3);
	assert_int_equal(raw_call(silent, MESSAGE_RENEW, NULL, NULL), 0);
	assert_int_equal(raw_bye(silent), 0);
	raw_close(silent);
	/* Let another term pass: whoever was not excused expires now. */
	rig_elapse(TTL_MS + TTL_MS / 2);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), LIVING * HELD);
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 0);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	status = rig_ask(r, "status");
	assert_int_equal(rig_number(status, "counters.expiries"), 0);
	assert_int_equal(rig_number(status, "counters.resumes"), 0);
	assert_int_equal(rig_number(status, "sessions.connected"), LIVING);
	json_decref(status);
	for (unsigned i = 0; i < LIVING; i++) {
		check_sleeper(&clients[i]);
		client_free(clients[i].client, client_alloc(clients[i].client, 1, RMEM_NODE_ANY));
		end_sleeper(&clients[i]);
	}
	rig_stop(r, false);
}

/* ---- the server is busy ---- */

#define CROWD 30 /* at most, at once: each round of answers keeps rmemd from its ticks */
#define CROWD_BLOCKS 200
#define TICK_NS (TTL_MS * NSEC_PER_MSEC / 20)

/* Ask for long reports all the time, on connections of its own. */
struct crowd {
	pthread_t thread;
	const char *admin;
	atomic_bool ending;
	uint64_t asked_ns[CROWD], longest_ns; /* that an answer took */
	unsigned answers;
};

static int crowd_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void crowd_ask(struct crowd *c, unsigned i, int fd)
{
	static const char request[] = "{\"cmd\":\"map\",\"limit\":65536}\n";

	c->asked_ns[i] = clock_boot_ns();
	if (write(fd, request, sizeof(request) - 1) < 0)
		c->asked_ns[i] = UINT64_MAX;
}

static void crowd_hear(struct crowd *c, unsigned i, int fd)
{
	static char text[1 << 16];
	ssize_t n = read(fd, text, sizeof(text));
	uint64_t took_ns = clock_boot_ns() - c->asked_ns[i];

	if (n <= 0 || text[n - 1] != '\n')
		return;
	c->answers++;
	if (took_ns > c->longest_ns)
		c->longest_ns = took_ns;
	crowd_ask(c, i, fd);
}

/* As many as it takes here for rmemd to miss its ticks, and no more. */
static bool crowd_needs_more(const struct crowd *c, unsigned n)
{
	return n < CROWD && (n == 0 || (c->answers > n && c->longest_ns < 6 * TICK_NS));
}

static void *crowd_run(void *arg)
{
	struct crowd *c = arg;
	struct pollfd fds[CROWD];
	unsigned n = 0;

	while (!atomic_load(&c->ending)) {
		if (crowd_needs_more(c, n)) {
			fds[n] = (struct pollfd){ .fd = crowd_connect(c->admin), .events = POLLIN };
			crowd_ask(c, n, fds[n].fd);
			n++;
		}
		poll(fds, n, 100);
		for (unsigned i = 0; i < n; i++) {
			if (fds[i].revents)
				crowd_hear(c, i, fds[i].fd);
		}
	}
	while (n > 0)
		close(fds[--n].fd);
	return NULL;
}

static bool has_expired(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "counters.expiries") > 0;
}

/* That is no time in which nobody could renew: who is silent meanwhile is silent. */
static void test_busy_server_excuses_nobody(void **state)
{
	struct crowd crowd = { .answers = 0 };
	struct raw_session session;
	struct rig *r = *state;
	struct client *living;
	struct raw *silent;
	json_t *status;

	rig_start(r, options_pressure);
	living = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(living);
	for (unsigned i = 0; i < CROWD_BLOCKS; i++)
		client_alloc(living, 4096, RMEM_NODE_ANY);
	raw_session_init(&session);
	assert_int_equal(raw_open(r->port, &session, &silent), 0);
	crowd.admin = r->admin;
	assert_int_equal(pthread_create(&crowd.thread, NULL, crowd_run, &crowd), 0);
	status = rig_await(r, "status", has_expired, NULL, "the silent one's lease is over");
	atomic_store(&crowd.ending, true);
	pthread_join(crowd.thread, NULL);
	printf("%u answers, the slowest after %u ms\n", crowd.answers,
		(unsigned)(crowd.longest_ns / NSEC_PER_MSEC));
	/* Who lives renews without rmemd, and is not blamed. */
	assert_int_equal(rig_number(status, "counters.expiries"), 1);
	json_decref(status);
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	raw_close(silent);
	client_kill(living);
	rig_await_dead(r, living->pid);
	rig_stop(r, true);
	if (crowd.longest_ns < 4 * TICK_NS)
		skip(); /* too fast for these reports: rmemd was not busy enough */
}

/* Data needs no server: reads and writes go on while it stands. */
static void test_frozen_server_and_data(void **state)
{
	struct rig *r = *state;
	struct sleeper s;

	rig_start(r, options_pressure);
	start_sleeper(r, &s);
	rig_freeze(r);
	check_sleeper(&s);
	client_fill(s.client, s.addrs[0], BLOCK, 4711);
	client_check(s.client, s.addrs[0], BLOCK, 4711);
	rig_thaw(r);
	client_fill(s.client, s.addrs[0], BLOCK, seed_of(s.client, 0));
	end_sleeper(&s);
	rig_stop(r, false);
}

/* ---- a client stands still ---- */

static void freeze_past_its_term(struct rig *r, struct sleeper *s)
{
	json_t *leaks;

	client_freeze(s->client);
	rig_await_revoked(r, s->client->pid);
	/* It lives, so nothing of it is lost. */
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 0);
	assert_int_equal(rig_number(leaks, "summary.limbo.blocks"), HELD);
	assert_int_equal(rig_number(leaks, "summary.limbo.bytes"), (long long)(HELD * BLOCK));
	rig_assert_accounted(leaks);
	json_decref(leaks);
}

/* Allocate and write until the pool is full; returns how many blocks. */
static unsigned fill_up(struct client *c, uint64_t *addrs)
{
	const struct client_order order = {
		.call = CLIENT_ALLOC, .bytes = BLOCK, .node = RMEM_NODE_ANY
	};
	unsigned n = 0;

	while (client_do(c, &order)->err == 0) {
		assert_true(n < POOL_BLOCKS);
		addrs[n] = c->last.addr;
		client_fill(c, addrs[n], BLOCK, seed_of(c, n));
		n++;
	}
	if (c->last.err != -ENOSPC)
		fail_msg("%s: %s", strerror(-c->last.err), c->last.errinfo);
	return n;
}

static unsigned overlaps(const struct sleeper *s, const uint64_t *addrs, unsigned n)
{
	unsigned found = 0;

	for (unsigned i = 0; i < HELD; i++) {
		for (unsigned k = 0; k < n; k++)
			found += addrs[k] < s->addrs[i] + BLOCK && s->addrs[i] < addrs[k] + BLOCK;
	}
	return found;
}

static void check_all(struct client *c, const uint64_t *addrs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_check(c, addrs[i], BLOCK, seed_of(c, i));
}

static void test_frozen_client_keeps_its_bytes(void **state)
{
	uint64_t addrs[POOL_BLOCKS];
	struct client *other;
	struct rig *r = *state;
	struct sleeper s;
	unsigned n;

	rig_start(r, options_never);
	start_sleeper(r, &s);
	freeze_past_its_term(r, &s);
	other = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(other);
	n = fill_up(other, addrs);
	assert_int_equal(n, POOL_BLOCKS - HELD);
	assert_int_equal(overlaps(&s, addrs, n), 0);
	client_thaw(s.client);
	/* Nobody took its memory, so it proves itself and works on. */
	check_sleeper(&s);
	check_all(other, addrs, n);
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 1);
	end_sleeper(&s);
	for (unsigned i = 0; i < n; i++)
		client_free(other, addrs[i]);
	client_close(other);
	rig_stop(r, false);
}

static void expect_stale(struct client *c, const struct client_order *order)
{
	const struct client_record *record = client_do(c, order);

	if (record->err != -ESTALE)
		fail_msg("call %u: %d (%s) instead of -ESTALE: %s", record->call, record->err,
			strerror(record->err < 0 ? -record->err : 0), record->errinfo);
}

static void test_frozen_client_under_pressure(void **state)
{
	uint64_t addrs[POOL_BLOCKS], addr;
	struct client *other;
	struct rig *r = *state;
	struct sleeper s;
	json_t *leaks;
	unsigned n;

	rig_start(r, options_pressure);
	start_sleeper(r, &s);
	freeze_past_its_term(r, &s);
	other = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(other);
	n = fill_up(other, addrs);
	assert_int_equal(n, POOL_BLOCKS);
	assert_int_equal(overlaps(&s, addrs, n), HELD);
	client_thaw(s.client);
	for (unsigned i = 0; i < HELD; i++) {
		expect_stale(s.client, &(struct client_order){ .call = CLIENT_FILL,
					       .addr = s.addrs[i],
					       .bytes = BLOCK,
					       .seed = 666 });
		expect_stale(s.client, &(struct client_order){ .call = CLIENT_CHECK,
					       .addr = s.addrs[i],
					       .bytes = BLOCK,
					       .seed = seed_of(s.client, i) });
		expect_stale(s.client,
			&(struct client_order){ .call = CLIENT_FREE, .addr = s.addrs[i] });
	}
	check_all(other, addrs, n);
	/* It can go on with new memory. */
	client_free(other, addrs[0]);
	addr = client_alloc(s.client, BLOCK, RMEM_NODE_ANY);
	client_check(s.client, addr, BLOCK, 0);
	client_free(s.client, addr);
	client_close(s.client);
	for (unsigned i = 1; i < n; i++)
		client_free(other, addrs[i]);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "coverage.allocations_total"), 0);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	client_close(other);
	rig_stop(r, false);
}

/* What it held is gone; a new allocation could be had, but for the pool being full. */
static void assert_is_lawful(const struct client_record *failure)
{
	if (failure->err == -ESTALE)
		return;
	if (failure->err != -ENOSPC || failure->call != CLIENT_ALLOC)
		fail_msg("call %u: %d instead of -ESTALE: %s", failure->call, failure->err,
			failure->errinfo);
}

/*
 * Frozen in the middle of whatever call it makes, and what it holds is lent to another: whatever the
 * worker was about to write does not get there, and it never takes the other's bytes for its own.
 */
static void freeze_in_mid_call(struct rig *r, unsigned round)
{
	const struct client_work work = { .seed = 70 + round, .max_held = 6, .max_bytes = BLOCK };
	struct client *worker = client_start_worker(r->server, &work), *other;
	uint64_t addrs[POOL_BLOCKS];
	unsigned n;

	while (worker->calls < 10 || worker->nheld < 2)
		client_await_calls(worker, worker->calls + 1);
	client_freeze(worker);
	rig_await_revoked(r, worker->pid);
	other = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(other);
	n = fill_up(other, addrs);
	assert_int_equal(n, POOL_BLOCKS); /* all of it: the worker has nothing left */
	client_thaw(worker);
	assert_int_not_equal(client_end(worker), 0);
	assert_is_lawful(&worker->failure);
	check_all(other, addrs, n);
	for (unsigned i = 0; i < n; i++)
		client_free(other, addrs[i]);
	client_close(other);
}

static void test_frozen_in_mid_call(void **state)
{
	struct rig *r = *state;

	rig_start(r, options_pressure);
	for (unsigned round = 0; round < 3; round++)
		freeze_in_mid_call(r, round);
	assert_int_equal(rig_ask_number(r, "leaks", "coverage.allocations_total"), 0);
	rig_stop(r, false);
}

/* A thread's processor time and the time, when a call that waits for a server that stands has come back. */
static void wait_in_vain(struct rmem *rm, uint64_t *used_ns, uint64_t *took_ns)
{
	const uint64_t began = clock_boot_ns(), before = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	uint64_t addr;

	assert_int_equal(rmem_alloc(rm, BLOCK, NULL, &addr), -ETIMEDOUT);
	*used_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - before;
	*took_ns = clock_boot_ns() - began;
}

/* Who waits for long sleeps, however short waits were before. */
static void test_waiting_takes_no_processor(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	uint64_t addr, used, took;
	struct rmem *rm;

	rig_start(r, options_pressure);
	attr.timeout_ms = 2000;
	assert_int_equal(rmem_open(r->server, &attr, &rm), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(rmem_alloc(rm, BLOCK, NULL, &addr), 0);
		assert_int_equal(rmem_free(rm, addr), 0);
	}
	rig_freeze(r);
	for (unsigned i = 0; i < 2; i++) {
		wait_in_vain(rm, &used, &took);
		if (used > took / 8)
			fail_msg("%llu of %llu us", used / NSEC_PER_USEC, took / NSEC_PER_USEC);
	}
	rig_thaw(r);
	(void)rmem_close(rm);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_busy_server_excuses_nobody),
		RIG_TEST(test_frozen_server_expires_nobody),
		RIG_TEST(test_frozen_server_and_data),
		RIG_TEST(test_frozen_client_keeps_its_bytes),
		RIG_TEST(test_frozen_client_under_pressure),
		RIG_TEST(test_frozen_in_mid_call),
		RIG_TEST(test_waiting_takes_no_processor),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_STALL, tests, sizeof(tests) / sizeof(tests[0]));
}
