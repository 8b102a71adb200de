/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads and their channels: more threads than channels, threads that come and go, a thread with several
 * sessions, and sessions that end before the threads that have used them.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"
#include "tests/support/random.h"

#define THREADS 8
#define SPACE (512 * KIB) /* of each thread */

/* A thread at work on memory of its own, and on a word that all count on. */
struct hand {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t addr, word;
	uint64_t seed;
	unsigned rounds;
	uint8_t *bytes;
	char failure[256];
};

/* Allocate and free beside the others, objects and blocks: what is new is zeroed and nobody else's. */
static int on_new_memory(struct hand *h)
{
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	size_t len = 1 + random_below(&h->seed, 40000);
	uint64_t seed = random_u64(&h->seed) | 1;
	rmem_addr_t addr;
	int rc = rmem_alloc(h->rm, len, &zeroed, &addr);

	if (rc)
		return rc;
	rc = rmem_read(h->rm, h->bytes, addr, len);
	if (rc == 0 && pattern_check(h->bytes, len, 0) >= 0)
		return -EBADMSG;
	pattern_fill(h->bytes, len, seed);
	if (rc == 0)
		rc = rmem_write(h->rm, addr, h->bytes, len);
	memset(h->bytes, 0, len);
	if (rc == 0)
		rc = rmem_read(h->rm, h->bytes, addr, len);
	if (rc == 0 && pattern_check(h->bytes, len, seed) >= 0)
		return -EBADMSG;
	return rc ? rc : rmem_free(h->rm, addr);
}

static int once(struct hand *h, size_t at, size_t len)
{
	uint64_t seed = random_u64(&h->seed) | 1;
	int rc;

	pattern_fill(h->bytes, len, seed);
	rc = rmem_write(h->rm, h->addr + at, h->bytes, len);
	memset(h->bytes, 0, len);
	if (rc == 0)
		rc = rmem_read(h->rm, h->bytes, h->addr + at, len);
	if (rc == 0 && pattern_check(h->bytes, len, seed) >= 0)
		return -EBADMSG;
	return rc ? rc : rmem_fetch_add(h->rm, h->word, 1, NULL);
}

static void *work(void *arg)
{
	struct hand *h = arg;
	int rc = 0;

	for (unsigned i = 0; i < h->rounds && rc == 0; i++) {
		size_t len = 1 + random_below(&h->seed, random_below(&h->seed, 8) ? 3000 : SPACE);

		rc = once(h, random_below(&h->seed, SPACE - len + 1), len);
		if (rc == 0 && i % 2)
			rc = on_new_memory(h);
	}
	if (rc)
		snprintf(h->failure, sizeof(h->failure), "%d: %.200s", rc, rmem_errmsg());
	/* Messages are each thread's own. */
	else if (rmem_free(h->rm, h->seed | 1) != -EINVAL ||
		 !strstr(rmem_errmsg(), "never allocated"))
		snprintf(h->failure, sizeof(h->failure), "a free of nonsense: %.200s",
			rmem_errmsg());
	return NULL;
}

static void hand_create(struct hand *h, struct rmem *rm, rmem_addr_t word, uint64_t seed)
{
	*h = (struct hand){ .rm = rm, .word = word, .seed = seed };
	h->addr = lib_alloc(rm, SPACE);
	h->bytes = lib_zeroes(SPACE);
}

static void hand_destroy(struct hand *h)
{
	lib_succeed(rmem_free(h->rm, h->addr));
	free(h->bytes);
}

static void hands_start(struct hand *hands, unsigned n, unsigned rounds)
{
	for (unsigned i = 0; i < n; i++) {
		hands[i].rounds = rounds;
		assert_int_equal(pthread_create(&hands[i].thread, NULL, work, &hands[i]), 0);
	}
}

static void hands_join(struct hand *hands, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(hands[i].thread, NULL);
	for (unsigned i = 0; i < n; i++)
		assert_string_equal(hands[i].failure, "");
}

/* Of this process, says the server. */
static long long channels(struct rig *r)
{
	json_t *sessions = rig_ask(r, "sessions");
	const json_t *session = rig_session(sessions, getpid());
	long long n = session ? rig_number(session, "channels") : -1;

	json_decref(sessions);
	return n;
}

#define BIG_BYTES (24 * MIB) /* several turns on a channel that is shared */

static void *copy_big(void *arg)
{
	struct hand *h = arg;
	int rc;

	pattern_fill(h->bytes, BIG_BYTES, h->seed);
	rc = rmem_write(h->rm, h->addr, h->bytes, BIG_BYTES);
	memset(h->bytes, 0, BIG_BYTES);
	if (rc == 0)
		rc = rmem_read(h->rm, h->bytes, h->addr, BIG_BYTES);
	if (rc || pattern_check(h->bytes, BIG_BYTES, h->seed) >= 0)
		snprintf(h->failure, sizeof(h->failure), "%d: %.200s", rc, rmem_errmsg());
	return NULL;
}

static void more_threads_than(struct rig *r, int limit)
{
	struct hand hands[THREADS], big = { .seed = 99 };
	struct rmem *rm;
	rmem_addr_t word;

	rm = lib_open(r->server, limit);
	word = lib_alloc(rm, 8);
	for (unsigned i = 0; i < THREADS; i++)
		hand_create(&hands[i], rm, word, i + 1);
	big.rm = rm;
	big.addr = lib_alloc(rm, BIG_BYTES);
	big.bytes = lib_zeroes(BIG_BYTES);
	hands_start(hands, THREADS, 25);
	assert_int_equal(pthread_create(&big.thread, NULL, copy_big, &big), 0);
	hands_join(hands, THREADS);
	pthread_join(big.thread, NULL);
	assert_string_equal(big.failure, "");
	assert_int_equal(lib_read_word(rm, word), THREADS * 25);
	/* One that threads without their own share, and the one for records of objects. */
	assert_in_range(channels(r), 1, limit + 2);
	for (unsigned i = 0; i < THREADS; i++)
		hand_destroy(&hands[i]);
	free(big.bytes);
	lib_succeed(rmem_free(rm, big.addr));
	lib_succeed(rmem_free(rm, word));
	lib_succeed(rmem_close(rm));
}

static void test_more_threads_than_channels(void **state)
{
	struct rig *r = *state;

	/* Where there are two NUMA nodes each has half of it. */
	rig_start(r, (const char *const[]){ "--size", "128M", NULL });
	more_threads_than(r, 1);
	more_threads_than(r, 2);
	/* On the connections that they had at first. */
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 0);
	rig_end(r);
}

#define SHORT_THREADS 200

static void test_threads_come_and_go(void **state)
{
	struct hand hands[THREADS];
	struct rig *r = *state;
	rmem_addr_t word;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 3);
	word = lib_alloc(rm, 8);
	for (unsigned i = 0; i < THREADS; i++)
		hand_create(&hands[i], rm, word, i + 1);
	/* One at a time: all have the same channel, one after the other. */
	for (unsigned i = 0; i < SHORT_THREADS; i++) {
		hands_start(hands, 1, 1);
		hands_join(hands, 1);
	}
	assert_int_equal(channels(r), 1);
	/* Eight at a time: three of their own, and one for the rest. */
	for (unsigned i = 0; i < SHORT_THREADS / THREADS; i++) {
		hands_start(hands, THREADS, 1);
		hands_join(hands, THREADS);
	}
	assert_in_range(channels(r), 1, 4);
	assert_int_equal(lib_read_word(rm, word), 2 * SHORT_THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		hand_destroy(&hands[i]);
	lib_succeed(rmem_free(rm, word));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

#define SESSIONS 6

/* This thread uses all of them in turn; some are closed, and others opened, in between. */
static void test_sessions_of_one_thread(void **state)
{
	struct hand hands[SESSIONS];
	struct rig *r = *state;
	uint64_t seed = 12;

	rig_start(r, NULL);
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct rmem *rm = lib_open(r->server, 1);

		hand_create(&hands[i], rm, lib_alloc(rm, 8), i + 1);
		hands[i].rounds = 1;
	}
	for (unsigned i = 0; i < 150; i++) {
		struct hand *h = &hands[random_below(&seed, SESSIONS)];
		struct rmem *rm = h->rm;

		if (random_below(&seed, 10) == 0) {
			lib_succeed(rmem_free(rm, h->word));
			hand_destroy(h);
			lib_succeed(rmem_close(rm));
			rm = lib_open(r->server, 1);
			hand_create(h, rm, lib_alloc(rm, 8), i + 100);
			h->rounds = 1;
		}
		work(h);
		assert_string_equal(h->failure, "");
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		lib_succeed(rmem_free(hands[i].rm, hands[i].word));
		lib_succeed(rmem_free(hands[i].rm, hands[i].addr));
		free(hands[i].bytes);
		lib_succeed(rmem_close(hands[i].rm));
	}
	rig_stop(r, false);
}

#define LIVES 8

/* Threads that live as long as the test, while sessions come and go under them. */
struct resident {
	struct hand hand;
	pthread_barrier_t *begin, *end;
};

static void *reside(void *arg)
{
	struct resident *r = arg;

	for (int i = 0; i < LIVES; i++) {
		pthread_barrier_wait(r->begin);
		work(&r->hand);
		pthread_barrier_wait(r->end);
	}
	return NULL;
}

static void test_sessions_end_before_threads(void **state)
{
	struct resident residents[THREADS];
	pthread_barrier_t begin, end;
	struct rig *r = *state;

	rig_start(r, NULL);
	pthread_barrier_init(&begin, NULL, THREADS + 1);
	pthread_barrier_init(&end, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		residents[i] = (struct resident){ .begin = &begin, .end = &end };
		assert_int_equal(
			pthread_create(&residents[i].hand.thread, NULL, reside, &residents[i]), 0);
	}
	for (int life = 0; life < LIVES; life++) {
		struct rmem *rm = lib_open(r->server, life % 2 ? 0 : 4);
		rmem_addr_t word = lib_alloc(rm, 8);

		for (unsigned i = 0; i < THREADS; i++) {
			pthread_t thread = residents[i].hand.thread;

			hand_create(&residents[i].hand, rm, word, i + 1);
			residents[i].hand.thread = thread;
			residents[i].hand.rounds = 3;
		}
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&end);
		for (unsigned i = 0; i < THREADS; i++) {
			assert_string_equal(residents[i].hand.failure, "");
			hand_destroy(&residents[i].hand);
		}
		assert_int_equal(lib_read_word(rm, word), THREADS * 3);
		lib_succeed(rmem_free(rm, word));
		lib_succeed(rmem_close(rm));
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(residents[i].hand.thread, NULL);
	pthread_barrier_destroy(&begin);
	pthread_barrier_destroy(&end);
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_more_threads_than_channels),
		RIG_TEST(test_threads_come_and_go),
		RIG_TEST(test_sessions_of_one_thread),
		RIG_TEST(test_sessions_end_before_threads),
	};

	return rig_main(RIG_PORT_THREADS, tests, sizeof(tests) / sizeof(tests[0]));
}
