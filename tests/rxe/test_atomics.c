/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 64-bit atomic operations: alone, by threads, in queues, and while rmemd is killed under them.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/lib.h"

static void test_atomics(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addr, end;
	uint64_t old = 77;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 28);
	end = addr + 24;
	lib_succeed(rmem_fetch_add(rm, addr, 5, &old));
	assert_int_equal(old, 0);
	lib_succeed(rmem_fetch_add(rm, addr, UINT64_MAX, &old)); /* -1 */
	assert_int_equal(old, 5);
	lib_succeed(rmem_compare_swap(rm, addr, 4, 0x1122334455667788, &old));
	assert_int_equal(old, 4);
	assert_int_equal(lib_read_word(rm, addr), 0x1122334455667788);
	lib_succeed(rmem_compare_swap(rm, addr, 4, 9, &old));
	assert_int_equal(old, 0x1122334455667788); /* and nothing was stored */
	lib_succeed(rmem_fetch_add(rm, addr, 0, NULL));
	lib_succeed(rmem_compare_swap(rm, addr, old, 3, NULL));
	assert_int_equal(lib_read_word(rm, addr), 3);
	lib_succeed(rmem_fetch_add(rm, addr + 16, 1, NULL)); /* the last whole word */
	assert_int_equal(lib_read_word(rm, addr + 8), 0);    /* a neighbour */

	old = 77;
	for (unsigned i = 1; i < 8; i++)
		lib_expect(rmem_fetch_add(rm, addr + i, 1, &old), -EINVAL, "multiple of 8");
	lib_expect(rmem_compare_swap(rm, addr + 4, 0, 1, &old), -EINVAL, "multiple of 8");
	lib_expect(rmem_fetch_add(rm, end, 1, &old), -EFAULT, "pass the end");
	lib_expect(rmem_fetch_add(rm, addr + 32, 1, &old), -EFAULT, "not in any");
	lib_expect(rmem_compare_swap(rm, addr - 8, 0, 1, &old), -EFAULT, "not in any");
	lib_expect(rmem_fetch_add(rm, 0, 1, &old), -EFAULT, "");
	lib_expect(rmem_fetch_add(NULL, addr, 1, &old), -EINVAL, "NULL");
	assert_int_equal(old, 77);
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_fetch_add(rm, addr, 1, &old), -EFAULT, "not in any");
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

#define ADDERS 4

struct adder {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t word;
	uint64_t id;
	atomic_bool *stop;
	_Atomic uint64_t added;
	uint64_t unknown, refused;
	unsigned rounds; /* 0: until *stop */
	int failure;
};

static void *add(void *arg)
{
	struct adder *a = arg;

	for (unsigned i = 0; a->rounds ? i < a->rounds : !atomic_load(a->stop); i++) {
		int rc = rmem_fetch_add(a->rm, a->word, 1, NULL);

		if (rc == 0)
			a->added++;
		else if (rc == -EREMOTEIO)
			a->unknown++;
		else if (rc == -ECONNRESET || rc == -ETIMEDOUT)
			a->refused++;
		else
			a->failure = rc;
	}
	return NULL;
}

/* A lock of the word behind the counter: the holder's number. What it protects is no atomic. */
static void *add_locked(void *arg)
{
	struct adder *a = arg;
	uint64_t old = 0, value = 0;

	for (unsigned i = 0; i < a->rounds && !a->failure; i++) {
		do
			a->failure = rmem_compare_swap(a->rm, a->word + 8, 0, a->id, &old);
		while (!a->failure && old);
		if (!a->failure)
			a->failure = rmem_read(a->rm, &value, a->word, 8);
		value++;
		if (!a->failure)
			a->failure = rmem_write(a->rm, a->word, &value, 8);
		if (!a->failure)
			a->failure = rmem_compare_swap(a->rm, a->word + 8, a->id, 0, &old);
		if (!a->failure && old != a->id)
			a->failure = -EBADMSG;
	}
	return NULL;
}

static void start_adders(struct adder *adders, const struct adder *like, void *(*body)(void *))
{
	for (unsigned i = 0; i < ADDERS; i++) {
		adders[i] = *like;
		adders[i].id = i + 1;
		assert_int_equal(pthread_create(&adders[i].thread, NULL, body, &adders[i]), 0);
	}
}

static void join_adders(struct adder *adders)
{
	for (unsigned i = 0; i < ADDERS; i++)
		pthread_join(adders[i].thread, NULL);
	for (unsigned i = 0; i < ADDERS; i++)
		assert_int_equal(adders[i].failure, 0);
}

static void test_atomics_of_threads(void **state)
{
	struct adder adders[ADDERS], like = { .rounds = 500 };
	struct rig *r = *state;

	rig_start(r, NULL);
	like.rm = lib_open(r->server, 0);
	like.word = lib_alloc(like.rm, 16);
	start_adders(adders, &like, add);
	join_adders(adders);
	assert_int_equal(lib_read_word(like.rm, like.word), ADDERS * 500);
	like.rounds = 50;
	start_adders(adders, &like, add_locked);
	join_adders(adders);
	assert_int_equal(lib_read_word(like.rm, like.word), ADDERS * 550);
	lib_succeed(rmem_free(like.rm, like.word));
	lib_succeed(rmem_close(like.rm));
	rig_stop(r, false);
}

/* ---- in queues ---- */

#define QUEUE_ADDS 1500
#define QUEUE_DEPTH 100

/* A thread with a queue of its own, on a word that all have in common. */
struct queuer {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t word;
	uint64_t old[QUEUE_ADDS];
	int failure;
};

static void *add_in_queue(void *arg)
{
	const struct rmem_queue_attr attr = { .size = sizeof(attr), .depth = QUEUE_DEPTH };
	struct rmem_completion done[32];
	struct queuer *a = arg;
	struct rmem_queue *q;
	uint64_t started = 0, reaped = 0;

	a->failure = rmem_queue_create(a->rm, &attr, &q);
	if (a->failure)
		return NULL;
	while (reaped < QUEUE_ADDS && !a->failure) {
		int rc = 0, n;

		while (started < QUEUE_ADDS && rc == 0) {
			rc = rmem_start_fetch_add(q, a->word, 1, &a->old[started], started);
			started += rc == 0;
		}
		n = rmem_reap(q, done, 32, -1);
		for (int i = 0; i < n; i++)
			if (done[i].status || done[i].tag != reaped++)
				a->failure = done[i].status ? done[i].status : -EBADMSG;
		if (n < 0 || (rc && rc != -EAGAIN))
			a->failure = n < 0 ? n : rc;
	}
	rmem_queue_destroy(q);
	return NULL;
}

/* Each value of the word was seen by exactly one of them, and by each in ascending order. */
static void check_olds(const struct queuer *queuers)
{
	static unsigned char seen[ADDERS * QUEUE_ADDS];

	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < ADDERS; i++)
		for (unsigned k = 0; k < QUEUE_ADDS; k++) {
			uint64_t old = queuers[i].old[k];

			assert_true(old < sizeof(seen));
			assert_int_equal(seen[old]++, 0);
			assert_true(k == 0 || old > queuers[i].old[k - 1]);
		}
}

/* Each swap finds what the one before it has stored: fences keep them in order. */
static void check_chain(struct rmem *rm, rmem_addr_t word)
{
	struct rmem_queue *q = lib_queue(rm, 64);
	struct rmem_completion done[64];
	uint64_t old[64];
	int n = 0;

	for (uint64_t i = 0; i < 64; i++) {
		lib_succeed(rmem_fence(q));
		lib_succeed(rmem_start_compare_swap(q, word, i, i + 1, &old[i], i));
	}
	while (n < 64) {
		int got = rmem_reap(q, done, 64, -1);

		assert_true(got > 0);
		for (int i = 0; i < got; i++, n++) {
			lib_succeed(done[i].status);
			assert_int_equal(old[done[i].tag], done[i].tag);
		}
	}
	assert_int_equal(lib_read_word(rm, word), 64);
	rmem_queue_destroy(q);
}

static void test_atomics_of_queues(void **state)
{
	static struct queuer queuers[ADDERS];
	struct rmem_stats last = RMEM_STATS_INIT;
	struct rig *r = *state;
	rmem_addr_t words;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	words = lib_alloc(rm, 16);
	for (unsigned i = 0; i < ADDERS; i++) {
		queuers[i] = (struct queuer){ .rm = rm, .word = words };
		assert_int_equal(
			pthread_create(&queuers[i].thread, NULL, add_in_queue, &queuers[i]), 0);
	}
	for (unsigned i = 0; i < ADDERS; i++)
		pthread_join(queuers[i].thread, NULL);
	for (unsigned i = 0; i < ADDERS; i++)
		assert_int_equal(queuers[i].failure, 0);
	assert_int_equal(lib_read_word(rm, words), ADDERS * QUEUE_ADDS);
	assert_int_equal(lib_news(rm, &last).atomics, ADDERS * QUEUE_ADDS);
	check_olds(queuers);
	check_chain(rm, words + 8);
	lib_succeed(rmem_free(rm, words));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- and kills ---- */

static uint64_t added(const struct adder *adders)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ADDERS; i++)
		sum += atomic_load(&adders[i].added);
	return sum;
}

#define KILLS_ALL 8
#define KILLS 4

/* rmemd is killed under them: what is counted is what was done, give or take what is not known. */
static void test_atomics_and_kills(void **state)
{
	struct adder adders[ADDERS], like = { 0 };
	uint64_t value, sum, unknown = 0, refused = 0;
	const unsigned kills = rig_rounds(KILLS_ALL, KILLS);
	struct rig *r = *state;
	atomic_bool stop = false;

	rig_start(r, NULL);
	like.rm = lib_open(r->server, 0);
	like.word = lib_alloc(like.rm, 16);
	like.stop = &stop;
	start_adders(adders, &like, add);
	for (unsigned kill = 0; kill < kills; kill++) {
		uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
		uint64_t before = added(adders);

		while (added(adders) < before + 200) {
			assert_true(clock_boot_ns() < until_ns);
			sched_yield();
		}
		rig_kill(r);
		rig_start(r, NULL);
	}
	atomic_store(&stop, true);
	join_adders(adders);
	sum = added(adders);
	for (unsigned i = 0; i < ADDERS; i++) {
		unknown += adders[i].unknown;
		refused += adders[i].refused;
	}
	value = lib_read_word(like.rm, like.word);
	printf("%" PRIu64 " added, %" PRIu64 " unknown, %" PRIu64 " refused: the word is %" PRIu64
	       "\n",
		sum, unknown, refused, value);
	assert_true(value >= sum);
	assert_true(value <= sum + unknown);
	lib_succeed(rmem_free(like.rm, like.word));
	lib_succeed(rmem_close(like.rm));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_atomics),
		RIG_TEST(test_atomics_of_threads),
		RIG_TEST(test_atomics_of_queues),
		RIG_TEST(test_atomics_and_kills),
	};

	return rig_main(RIG_PORT_ATOMICS, tests, sizeof(tests) / sizeof(tests[0]));
}
