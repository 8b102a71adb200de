/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program believes of an address is true, or the library says that it is not: memory that was lost, or
 * freed while operations were on their way, is never taken for what is lent at its address later.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/rxe/client.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"

#define BLOCK (1 * MIB)
#define PIECES 64U
#define PIECE (BLOCK / PIECES)
#define SEEN_MIN 3 /* rounds in which operations were still on their way */
#define ROUNDS_MAX 200
#define WRITERS_MAX 16

static const char *const one_block[] = { "--size", "0:1M", "--ttl", "10m", NULL };
static const char *const two_blocks[] = { "--size", "0:2M", "--ttl", "10m", NULL };
static const char *const short_lease[] = { "--size", "0:4M", "--ttl", "3s", NULL };

static uint8_t data[BLOCK];

/* The next owner gets it when it is wiped. */
static rmem_addr_t alloc_wiped(struct rig *r, struct rmem *rm)
{
	rig_await_wiped(r);
	return lib_alloc(rm, BLOCK);
}

/* ---- freed while operations are on their way ---- */

/* Returns how many writes did not get there. Those that did were before the end of the allocation. */
static unsigned reap_all(struct rmem_queue *q)
{
	struct rmem_completion done[PIECES];
	unsigned n = 0, refused = 0;

	while (n < PIECES) {
		int got = rmem_reap(q, done, (int)PIECES, -1);

		assert_true(got > 0);
		for (int i = 0; i < got; i++) {
			if (done[i].status && done[i].status != -EFAULT)
				fail_msg("write %u: %d, %s", n + (unsigned)i, done[i].status,
					rmem_errmsg());
			refused += done[i].status != 0;
		}
		n += (unsigned)got;
	}
	return refused;
}

static void test_freed_under_a_queue(void **state)
{
	struct rig *r = *state;
	struct rmem_queue *q;
	struct rmem *rm;
	unsigned seen = 0;

	rig_start(r, one_block);
	rm = lib_open(r->server, 0);
	q = lib_queue(rm, PIECES);
	memset(data, 0xAA, sizeof(data));
	for (unsigned round = 0; seen < SEEN_MIN; round++) {
		rmem_addr_t old = lib_alloc(rm, BLOCK), new;

		assert_in_range(round, 0, ROUNDS_MAX);
		for (uint64_t i = 0; i < PIECES; i++)
			lib_succeed(rmem_start_write(q, old + i * PIECE, data, PIECE, i));
		rmem_submit(q);
		lib_succeed(rmem_free(rm, old));
		new = alloc_wiped(r, rm);
		assert_true(new == old);
		seen += reap_all(q) > 0;
		lib_check(rm, new, BLOCK, 0);
		lib_succeed(rmem_free(rm, new));
		rig_await_wiped(r);
	}
	rmem_queue_destroy(q);
	assert_int_equal(rmem_close(rm), 0);
	rig_stop(r, false);
}

struct writer {
	struct rmem *rm;
	rmem_addr_t addr;
	size_t bytes;
	int rc;
	pthread_t thread;
};

static void *write_once(void *arg)
{
	struct writer *w = arg;

	w->rc = rmem_write(w->rm, w->addr, data, w->bytes);
	return NULL;
}

/* Returns how many of n calls in threads of their own, which write the block together, did not get there. */
static unsigned free_under_calls(struct rig *r, struct rmem *rm, unsigned n)
{
	struct rmem_stats last = RMEM_STATS_INIT, news;
	struct writer writers[WRITERS_MAX];
	rmem_addr_t old = lib_alloc(rm, BLOCK), new;
	unsigned refused = 0;

	lib_news(rm, &last);
	for (unsigned i = 0; i < n; i++) {
		writers[i] = (struct writer){
			.rm = rm, .addr = old + i * (BLOCK / n), .bytes = BLOCK / n
		};
		assert_int_equal(
			pthread_create(&writers[i].thread, NULL, write_once, &writers[i]), 0);
	}
	do
		news = lib_news(rm, &last);
	while (lib_bytes(&news) == 0);
	lib_succeed(rmem_free(rm, old));
	new = alloc_wiped(r, rm);
	assert_true(new == old);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].rc)
			assert_int_equal(writers[i].rc, -EFAULT);
		refused += writers[i].rc != 0;
	}
	lib_check(rm, new, BLOCK, 0);
	lib_succeed(rmem_free(rm, new));
	rig_await_wiped(r);
	return refused;
}

/* Calls that wait, in other threads: one that is long, and some so short that they take the shortest way. */
static void test_freed_under_calls(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;

	rig_start(r, one_block);
	rm = lib_open(r->server, 0);
	memset(data, 0xAA, sizeof(data));
	for (unsigned n = 1; n <= WRITERS_MAX; n += WRITERS_MAX - 1) {
		unsigned seen = 0;

		for (unsigned round = 0; !seen; round++) {
			assert_in_range(round, 0, ROUNDS_MAX);
			seen += free_under_calls(r, rm, n);
		}
	}
	assert_int_equal(rmem_close(rm), 0);
	rig_stop(r, false);
}

/* ---- a free that was given up ---- */

/* It is repeated after its address could have been lent again: that ends nothing but what it names. */
static void test_free_repeated(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	rmem_addr_t old, new;
	struct rmem *rm;

	rig_start(r, two_blocks);
	attr.timeout_ms = 6000;
	lib_succeed(rmem_open(r->server, &attr, &rm));
	old = lib_alloc(rm, BLOCK);
	rig_freeze(r);
	lib_expect(rmem_free(rm, old), -ETIMEDOUT, "");
	rig_thaw(r);
	new = lib_alloc(rm, BLOCK);
	assert_true(new != old);
	pattern_fill(data, BLOCK, 5);
	lib_succeed(rmem_write(rm, new, data, BLOCK));
	/* There is room, but the program may still free what was there. */
	lib_expect(rmem_alloc(rm, BLOCK, NULL, &(rmem_addr_t){ 0 }), -ENOSPC, "rmem_free()");
	lib_succeed(rmem_free(rm, old));
	lib_check(rm, new, BLOCK, 5);
	assert_true(alloc_wiped(r, rm) == old);
	lib_expect(rmem_free(rm, old + 8), -EINVAL, "inside the allocation");
	lib_succeed(rmem_free(rm, old));
	lib_succeed(rmem_free(rm, new));
	assert_int_equal(rmem_close(rm), 0);
	rig_stop(r, false);
}

/* ---- lost, and not told yet ---- */

static void expect(struct client *c, enum client_call call, uint64_t addr, int err)
{
	const struct client_order order = { .call = call, .addr = addr, .bytes = BLOCK, .seed = 7 };
	const struct client_record *record = client_do(c, &order);

	if (record->err != err)
		fail_msg("call %u: %d instead of %d: %s", record->call, record->err, err,
			record->errinfo);
}

/*
 * A process is stopped for longer than its lease, all its memory is lent to another, and given back. The first that it does
 * when it goes on is to allocate: that must not be where it believes to have something else.
 */
static void test_lost_without_a_word(void **state)
{
	struct client *victim, *other;
	struct rig *r = *state;
	uint64_t old[2], more[2], all, new;

	rig_start(r, short_lease);
	victim = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(victim);
	for (unsigned i = 0; i < 2; i++) {
		old[i] = client_alloc(victim, BLOCK, RMEM_NODE_ANY);
		client_fill(victim, old[i], BLOCK, 7);
	}
	client_freeze(victim);
	rig_await_revoked(r, victim->pid);
	other = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(other);
	all = client_alloc(other, 4 * BLOCK, RMEM_NODE_ANY);
	client_free(other, all);
	rig_await_wiped(r);
	client_thaw(victim);

	new = client_alloc(victim, BLOCK, RMEM_NODE_ANY);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(new + BLOCK <= old[i] || old[i] + BLOCK <= new);
		expect(victim, CLIENT_CHECK, old[i], -ESTALE);
		expect(victim, CLIENT_FILL, old[i], -ESTALE);
	}
	client_check(victim, new, BLOCK, 0);
	/* Given up, it is an address like any other. */
	expect(victim, CLIENT_FREE, old[0], -ESTALE);
	client_check(victim, new, BLOCK, 0);
	more[0] = client_alloc(victim, BLOCK, RMEM_NODE_ANY);
	more[1] = client_alloc(victim, BLOCK, RMEM_NODE_ANY);
	assert_true(more[0] == old[0] || more[1] == old[0]);
	expect(victim, CLIENT_CHECK, old[1], -ESTALE);
	expect(victim, CLIENT_FREE, old[1], -ESTALE);
	expect(victim, CLIENT_FREE, new, 0);
	expect(victim, CLIENT_FREE, more[0], 0);
	expect(victim, CLIENT_FREE, more[1], 0);
	client_close(victim);
	client_close(other);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_freed_under_a_queue),
		RIG_TEST(test_freed_under_calls),
		RIG_TEST(test_free_repeated),
		RIG_TEST(test_lost_without_a_word),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_STALE, tests, sizeof(tests) / sizeof(tests[0]));
}
