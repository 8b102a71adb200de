/* SPDX-License-Identifier: BSD-3-Clause */
/* The public header, sentence by sentence, against a real rmemd. */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/message.h"
#include "rmem/rmem.h"
#include "tests/rxe/client.h"
#include "tests/rxe/impostor.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/raw.h"
#include "tests/support/random.h"

#define MIB (1UL << 20)

/* The call must fail with this error, and the message must mention that. */
static void expect(int rc, int wanted, const char *mention)
{
	if (rc != wanted)
		fail_msg("%d (%s) instead of %d (%s): %s", rc, strerror(abs(rc)), wanted,
			strerror(abs(wanted)), rmem_errmsg());
	if (!strstr(rmem_errmsg(), mention))
		fail_msg("no '%s' in: %s", mention, rmem_errmsg());
	if (strchr(rmem_errmsg(), '\n'))
		fail_msg("more than one line: %s", rmem_errmsg());
}

static void succeed(int rc)
{
	if (rc)
		fail_msg("%d (%s): %s", rc, strerror(abs(rc)), rmem_errmsg());
}

/* Patient: a busy machine is no error. */
static struct rmem *open_session(struct rig *r)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = NULL;

	attr.timeout_ms = RIG_LIMIT_MS;
	succeed(rmem_open(r->server, &attr, &rm));
	assert_non_null(rm);
	return rm;
}

static rmem_addr_t allocate(struct rmem *rm, size_t bytes)
{
	rmem_addr_t addr = 0;

	succeed(rmem_alloc(rm, bytes, NULL, &addr));
	assert_true(addr_is_remote(addr));
	return addr;
}

static void check_remote(struct rmem *rm, rmem_addr_t addr, size_t bytes, uint64_t seed)
{
	uint8_t *buffer = malloc(bytes);
	ssize_t wrong;

	assert_non_null(buffer);
	memset(buffer, 0x5a, bytes);
	succeed(rmem_read(rm, buffer, addr, bytes));
	wrong = pattern_check(buffer, bytes, seed);
	if (wrong >= 0)
		fail_msg("byte %zd of %zu at 0x%" PRIx64 " is wrong", wrong, bytes, addr);
	free(buffer);
}

/* ---- open and close ---- */

static void test_open_and_close(void **state)
{
	struct rmem *rm = NULL, *other = NULL, *untouched = (struct rmem *)state;
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	const json_t *mine;
	json_t *sessions;
	char here[32];

	rig_start(r, NULL);
	assert_string_equal(rmem_errmsg(), ""); /* before the first failure */
	assert_true(strlen(rmem_version()) >= 5);
	succeed(rmem_close(NULL));
	attr.job = "etl-992";
	succeed(rmem_open(r->server, &attr, &rm));
	sessions = rig_ask(r, "sessions");
	mine = rig_session(sessions, getpid());
	assert_non_null(mine);
	assert_string_equal(rig_text(mine, "job"), "etl-992");
	assert_string_equal(rig_text(mine, "state"), "connected");
	assert_non_null(strstr(rig_text(mine, "exe"), "test_api"));
	json_decref(sessions);
	snprintf(here, sizeof(here), "localhost:%u", r->port);
	succeed(rmem_open(here, NULL, &other));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 2);
	succeed(rmem_close(other));
	succeed(rmem_close(rm));

	/* NULL means $RMEM_SERVER. */
	setenv("RMEM_SERVER", r->server, 1);
	succeed(rmem_open(NULL, NULL, &rm));
	succeed(rmem_close(rm));
	unsetenv("RMEM_SERVER");

	attr.device = "nosuch0";
	expect(rmem_open(r->server, &attr, &untouched), -ENODEV, "nosuch0");
	attr.device = NULL;
	attr.timeout_ms = -1;
	expect(rmem_open(r->server, &attr, &untouched), -EINVAL, "timeout");
	attr = (struct rmem_open_attr){ .size = 0 };
	expect(rmem_open(r->server, &attr, &untouched), -EINVAL, "size");
	expect(rmem_open(r->server, NULL, NULL), -EINVAL, "out");
	assert_ptr_equal(untouched, state);
	rig_stop(r, false);
}

static void test_wrong_server_text(void **state)
{
	static const char *const wrong[] = { "host:", "host:0", "host:65536", "host:x", "[::1",
		"[::1]x", "::1:7471", ":7471", "a host", "a/b" };
	struct rmem *untouched = (struct rmem *)state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect(rmem_open(wrong[i], NULL, &untouched), -EINVAL, "");
	assert_ptr_equal(untouched, state);
}

static void test_nobody_there(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *untouched = (struct rmem *)state;
	uint64_t began_ns = clock_boot_ns();
	char server[80];
	int rc;

	snprintf(server, sizeof(server), "%s:%d", rig_host(), RIG_PORT_NOBODY);
	expect(rmem_open(server, NULL, &untouched), -ECONNREFUSED, server);
	assert_true(clock_boot_ns() - began_ns < 5 * NSEC_PER_SEC);

	/* An address that nobody has: the limit is ours, not the connection manager's minute. */
	attr.timeout_ms = 1500;
	began_ns = clock_boot_ns();
	rc = rmem_open("192.0.2.1", &attr, &untouched);
	assert_true(rc == -EHOSTUNREACH || rc == -ETIMEDOUT);
	expect(rc, rc, "192.0.2.1");
	assert_true(clock_boot_ns() - began_ns < 5 * NSEC_PER_SEC);
	assert_ptr_equal(untouched, state);
}

static void test_close_frees_nothing(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;
	json_t *leaks;

	rig_start(r, (const char *const[]){ "--reclaim", "never", NULL });
	rm = open_session(r);
	allocate(rm, 5000);
	allocate(rm, 1);
	succeed(rmem_close(rm));
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 2);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), 5001);
	assert_string_equal(rig_text(leaks, "records.0.holders.0.state"), "closed");
	rig_assert_accounted(leaks);
	json_decref(leaks);
	rig_stop(r, true);
}

/* ---- bytes ---- */

/* A local model of the allocation: random writes go to both, then all of both is compared. */
static void compare_with_model(struct rmem *rm, size_t bytes, uint64_t *seed)
{
	uint8_t *model = calloc(1, bytes), *buffer = malloc(bytes);
	rmem_addr_t addr = allocate(rm, bytes);

	assert_non_null(model);
	assert_non_null(buffer);
	check_remote(rm, addr, bytes, 0);
	for (int i = 0; i < 8; i++) {
		size_t offset = random_below(seed, bytes);
		size_t n = 1 + random_below(seed, bytes - offset);
		const uint64_t contents = random_u64(seed) | 1;

		if (i == 0) {
			offset = 0;
			n = bytes;
		}
		pattern_fill(model + offset, n, contents);
		pattern_fill(buffer, n, contents);
		succeed(rmem_write(rm, addr + offset, buffer, n));
		offset = random_below(seed, bytes);
		n = 1 + random_below(seed, bytes - offset);
		memset(buffer, 0x5a, bytes);
		succeed(rmem_read(rm, buffer, addr + offset, n));
		assert_memory_equal(buffer, model + offset, n);
		if (n < bytes)
			assert_int_equal(buffer[n], 0x5a); /* not a byte more */
	}
	succeed(rmem_read(rm, buffer, addr, bytes));
	assert_memory_equal(buffer, model, bytes);
	succeed(rmem_free(rm, addr));
	free(model);
	free(buffer);
}

static void test_bytes(void **state)
{
	static const size_t sizes[] = { 1, 2, 7, 8, 63, 64, 100, 511, 512, 513, 4095, 4096, 4097,
		8191, 10000, 65535, 65536, 65537, 100001, MIB - 1, MIB, MIB + 1, 3 * MIB + 17,
		8 * MIB };
	struct rig *r = *state;
	uint64_t seed = 1;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = open_session(r);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		compare_with_model(rm, sizes[i], &seed);
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* What one had is zeroed before another, or the same, gets it. */
static void test_zeroed_after_reuse(void **state)
{
	static const size_t sizes[] = { 1, 4096, 100000, 2 * MIB };
	struct rig *r = *state;
	struct rmem *rm;
	bool reused = false;

	rig_start(r, (const char *const[]){ "--size", "16M", NULL });
	rm = open_session(r);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t bytes = sizes[i];
		rmem_addr_t seen[64] = { 0 };
		uint8_t *buffer = malloc(bytes);

		assert_non_null(buffer);
		pattern_fill(buffer, bytes, 77);
		for (int round = 0; round < 12; round++) {
			seen[round] = allocate(rm, bytes);
			for (int k = 0; k < round; k++)
				reused |= seen[k] == seen[round];
			check_remote(rm, seen[round], bytes, 0);
			succeed(rmem_write(rm, seen[round], buffer, bytes));
			succeed(rmem_free(rm, seen[round]));
		}
		free(buffer);
	}
	assert_true(reused); /* or nothing was tested */
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- arguments ---- */

static void test_wrong_allocations(void **state)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	struct rig *r = *state;
	rmem_addr_t addr = 1234, held[8];
	struct rmem *rm;
	long long max;
	unsigned n = 0;
	int rc;

	rig_start(r, NULL);
	rm = open_session(r);
	max = rig_ask_number(r, "status", "max_alloc_bytes");
	expect(rmem_alloc(rm, 0, NULL, &addr), -EINVAL, "0 bytes");
	expect(rmem_alloc(rm, (size_t)max + 1, NULL, &addr), -EFBIG, "at most");
	expect(rmem_alloc(rm, SIZE_MAX, NULL, &addr), -EFBIG, "at most");
	attr.node = 63;
	expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "63");
	attr.node = 1000;
	expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "1000");
	attr.node = -2;
	expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "-2");
	attr = (struct rmem_alloc_attr){ .size = 4 };
	expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "size");
	expect(rmem_alloc(NULL, 1, NULL, &addr), -EINVAL, "NULL");
	expect(rmem_alloc(rm, 1, NULL, NULL), -EINVAL, "out");
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	/* The largest can be had, and then the pool is full. */
	while ((rc = rmem_alloc(rm, (size_t)max, NULL, &held[n])) == 0)
		n++;
	expect(rc, -ENOSPC, "full");
	expect(rmem_alloc(rm, 1, NULL, &addr), -ENOSPC, "full");
	assert_int_equal(addr, 1234);
	assert_true(n > 0);
	while (n)
		succeed(rmem_free(rm, held[--n]));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_wrong_frees(void **state)
{
	struct rig *r = *state;
	struct rmem *rm, *other;
	rmem_addr_t addr, foreign;

	rig_start(r, NULL);
	rm = open_session(r);
	other = open_session(r);
	addr = allocate(rm, 10000);
	foreign = allocate(other, 10000);
	succeed(rmem_free(rm, 0));
	expect(rmem_free(rm, addr + 1), -EINVAL, "inside");
	expect(rmem_free(rm, addr + 9999), -EINVAL, "inside");
	expect(rmem_free(rm, addr + 10000), -EINVAL, "never allocated");
	expect(rmem_free(rm, 42), -EINVAL, "never allocated");
	expect(rmem_free(rm, UINT64_MAX), -EINVAL, "never allocated");
	expect(rmem_free(rm, foreign), -EINVAL, "never allocated");
	expect(rmem_free(NULL, addr), -EINVAL, "NULL");
	succeed(rmem_free(rm, addr));
	expect(rmem_free(rm, addr), -EINVAL, "freed already");
	/* Nothing of that has touched what is the other's. */
	check_remote(other, foreign, 10000, 0);
	succeed(rmem_free(other, foreign));
	assert_int_equal(rig_ask_number(r, "status", "counters.frees"), 2);
	succeed(rmem_close(other));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_wrong_ranges(void **state)
{
	struct rig *r = *state;
	uint8_t buffer[8192] = { 0 };
	rmem_addr_t a, b, gone;
	struct rmem *rm, *other;
	json_t *before, *after;

	rig_start(r, NULL);
	rm = open_session(r);
	other = open_session(r);
	a = allocate(rm, 5000);
	b = allocate(other, 4096);
	gone = allocate(rm, 4096);
	succeed(rmem_free(rm, gone));
	succeed(rmem_write(rm, a + 4999, buffer, 1)); /* the key of a is fetched */
	before = rig_ask(r, "status");

	expect(rmem_write(rm, a + 5000, buffer, 1), -EFAULT, "not in any");
	expect(rmem_write(rm, a + 4999, buffer, 2), -EFAULT, "pass the end");
	expect(rmem_read(rm, buffer, a, 5001), -EFAULT, "pass the end");
	expect(rmem_read(rm, buffer, a - 1, 1), -EFAULT, "not in any");
	expect(rmem_read(rm, buffer, a - 1, 2), -EFAULT, "");
	expect(rmem_read(rm, buffer, b, 8), -EFAULT, "not in any");
	expect(rmem_read(rm, buffer, gone, 8), -EFAULT, "not in any");
	expect(rmem_read(rm, buffer, 0, 8), -EFAULT, "");
	expect(rmem_read(rm, buffer, UINT64_MAX, 8), -EFAULT, "");
	expect(rmem_read(rm, buffer, UINT64_MAX - 3, 8), -EFAULT, "");
	expect(rmem_read(rm, buffer, a + 8, SIZE_MAX - 4), -EINVAL, "");
	expect(rmem_read(rm, NULL, a, 8), -EINVAL, "");
	expect(rmem_write(rm, a, NULL, 8), -EINVAL, "");
	expect(rmem_read(NULL, buffer, a, 8), -EINVAL, "NULL");
	/* 0 bytes is fine. */
	succeed(rmem_read(rm, buffer, a, 0));
	succeed(rmem_write(rm, a, NULL, 0));

	/* Nothing of that was sent: same connection, no request. */
	after = rig_ask(r, "status");
	assert_true(json_equal(
		json_object_get(before, "counters"), json_object_get(after, "counters")));
	assert_int_equal(rig_number(after, "sessions.connected"), 2);
	check_remote(rm, a, 5000, 0);
	json_decref(before);
	json_decref(after);
	succeed(rmem_free(rm, a));
	succeed(rmem_free(other, b));
	succeed(rmem_close(other));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* Two allocations that are neighbours in the arena are two: a range over both is refused. */
static void test_range_across_two(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addrs[16];
	uint8_t buffer[8192];
	struct rmem *rm;
	unsigned pairs = 0;

	rig_start(r, NULL);
	rm = open_session(r);
	for (unsigned i = 0; i < 16; i++)
		addrs[i] = allocate(rm, 4096);
	for (unsigned i = 0; i < 16; i++) {
		for (unsigned k = 0; k < 16; k++) {
			if (addrs[k] != addrs[i] + 4096)
				continue;
			expect(rmem_read(rm, buffer, addrs[i], 8192), -EFAULT, "pass the end");
			expect(rmem_read(rm, buffer, addrs[i] + 4095, 2), -EFAULT, "pass the end");
			pairs++;
		}
	}
	assert_true(pairs > 0);
	for (unsigned i = 0; i < 16; i++)
		succeed(rmem_free(rm, addrs[i]));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- scatter-gather ---- */

/* Cut [0, total) into n pieces at random. */
static void cut(size_t *lengths, int n, size_t total, uint64_t *seed)
{
	for (int i = 0; i < n; i++) {
		lengths[i] = i == n - 1 ? total : random_below(seed, total + 1);
		total -= lengths[i];
	}
}

#define VECTOR_BYTES 300000UL

static void gather_and_scatter(struct rmem *rm, const rmem_addr_t addr[2], uint64_t *seed)
{
	struct iovec local[40];
	struct rmem_iovec remote[40];
	size_t lengths[40];
	int nlocal = 1 + (int)random_below(seed, 40), nremote = 1 + (int)random_below(seed, 40);
	uint8_t *out = malloc(VECTOR_BYTES), *in = malloc(VECTOR_BYTES);
	size_t at = 0;

	assert_non_null(out);
	assert_non_null(in);
	pattern_fill(out, VECTOR_BYTES, random_u64(seed) | 1);
	memset(in, 0, VECTOR_BYTES);
	cut(lengths, nlocal, VECTOR_BYTES, seed);
	for (int i = 0; i < nlocal; at += lengths[i++])
		local[i] = (struct iovec){ out + at, lengths[i] };
	/* Alternately in one and the other allocation, so that neighbours are far apart. */
	cut(lengths, nremote, VECTOR_BYTES, seed);
	at = 0;
	for (int i = 0; i < nremote; at += lengths[i++])
		remote[i] = (struct rmem_iovec){ addr[i % 2] + at, lengths[i] };
	succeed(rmem_writev(rm, local, nlocal, remote, nremote));
	at = 0;
	cut(lengths, nlocal, VECTOR_BYTES, seed);
	for (int i = 0; i < nlocal; at += lengths[i++])
		local[i] = (struct iovec){ in + at, lengths[i] };
	succeed(rmem_readv(rm, local, nlocal, remote, nremote));
	assert_memory_equal(in, out, VECTOR_BYTES);
	free(in);
	free(out);
}

static void test_vectors(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addr[2];
	uint64_t seed = 3;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = open_session(r);
	addr[0] = allocate(rm, VECTOR_BYTES);
	addr[1] = allocate(rm, VECTOR_BYTES);
	for (int i = 0; i < 12; i++)
		gather_and_scatter(rm, addr, &seed);
	succeed(rmem_free(rm, addr[0]));
	succeed(rmem_free(rm, addr[1]));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_wrong_vectors(void **state)
{
	struct rig *r = *state;
	uint8_t bytes[64] = { 0 }, mark[64];
	struct iovec local[2] = { { bytes, 32 }, { bytes + 32, 32 } };
	struct iovec many[2000];
	struct rmem_iovec remote[2];
	struct rmem *rm;
	rmem_addr_t addr;

	rig_start(r, NULL);
	rm = open_session(r);
	addr = allocate(rm, 64);
	memset(mark, 0xee, sizeof(mark));
	succeed(rmem_write(rm, addr, mark, sizeof(mark)));
	remote[0] = (struct rmem_iovec){ addr, 32 };
	remote[1] = (struct rmem_iovec){ addr + 32, 31 };
	expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	expect(rmem_writev(rm, local, 1, remote, 2), -EINVAL, "");
	remote[1].len = 33; /* totals differ, and it passes the end: nothing is sent in any case */
	expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	remote[1] = (struct rmem_iovec){ addr + 33, 32 };
	expect(rmem_writev(rm, local, 2, remote, 2), -EFAULT, "pass the end");
	remote[1] = (struct rmem_iovec){ addr + 32, 32 };
	for (int i = 0; i < 2000; i++)
		many[i] = (struct iovec){ bytes, 0 };
	expect(rmem_writev(rm, many, 2000, remote, 2), -EINVAL, "");
	expect(rmem_writev(rm, local, -1, remote, 2), -EINVAL, "");
	expect(rmem_writev(rm, NULL, 2, remote, 2), -EINVAL, "");
	expect(rmem_writev(rm, local, 2, NULL, 2), -EINVAL, "");
	local[1].iov_base = NULL;
	expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	succeed(rmem_writev(rm, NULL, 0, NULL, 0));
	succeed(rmem_read(rm, bytes, addr, 64));
	assert_memory_equal(bytes, mark, 64);
	succeed(rmem_free(rm, addr));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- threads and fork ---- */

struct worker {
	pthread_t thread;
	struct rmem *rm;
	uint64_t seed;
	char failure[256];
};

static int one_round(struct worker *w, uint8_t *buffer)
{
	const size_t bytes = 1 + random_below(&w->seed, 40000);
	const uint64_t contents = random_u64(&w->seed) | 1;
	rmem_addr_t addr;
	int rc = rmem_alloc(w->rm, bytes, NULL, &addr);

	if (rc)
		return rc;
	rc = rmem_read(w->rm, buffer, addr, bytes);
	if (rc == 0 && pattern_check(buffer, bytes, 0) >= 0)
		rc = -EBADMSG;
	pattern_fill(buffer, bytes, contents);
	if (rc == 0)
		rc = rmem_write(w->rm, addr, buffer, bytes);
	memset(buffer, 0, bytes);
	if (rc == 0)
		rc = rmem_read(w->rm, buffer, addr, bytes);
	if (rc == 0 && pattern_check(buffer, bytes, contents) >= 0)
		rc = -EBADMSG;
	return rc ? rc : rmem_free(w->rm, addr);
}

static void *run_worker(void *arg)
{
	static const int rounds = 60;
	struct worker *w = arg;
	uint8_t *buffer = malloc(40000);

	for (int i = 0; buffer && i < rounds && !w->failure[0]; i++) {
		int rc = one_round(w, buffer);

		if (rc)
			snprintf(w->failure, sizeof(w->failure), "%d: %.200s", rc, rmem_errmsg());
	}
	/* Messages are each thread's own. */
	if (rmem_free(w->rm, w->seed | 1) != -EINVAL || !strstr(rmem_errmsg(), "never allocated"))
		snprintf(w->failure, sizeof(w->failure), "a free of nonsense: %.200s",
			rmem_errmsg());
	free(buffer);
	return NULL;
}

static void test_threads(void **state)
{
	struct worker workers[4] = { 0 };
	struct rig *r = *state;
	struct rmem *rm;
	json_t *leaks;

	rig_start(r, NULL);
	rm = open_session(r);
	for (uint64_t i = 0; i < 4; i++) {
		workers[i].rm = rm;
		workers[i].seed = 100 + i;
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(workers[i].thread, NULL);
	for (int i = 0; i < 4; i++)
		assert_string_equal(workers[i].failure, "");
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), 0);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	assert_int_equal(rig_ask_number(r, "status", "counters.allocs"), 4 * 60);
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 0);
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

static int use_in_child(struct rmem *rm, rmem_addr_t addr)
{
	rmem_addr_t other;
	char byte;

	if (rmem_alloc(rm, 1, NULL, &other) != -EPERM || !strstr(rmem_errmsg(), "fork"))
		return 1;
	if (rmem_read(rm, &byte, addr, 1) != -EPERM || rmem_write(rm, addr, "x", 1) != -EPERM)
		return 2;
	if (rmem_free(rm, addr) != -EPERM)
		return 3;
	return rmem_close(rm) == 0 ? 0 : 4;
}

static void test_fork(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;
	rmem_addr_t addr;
	int status;
	pid_t pid;

	rig_start(r, NULL);
	rm = open_session(r);
	addr = allocate(rm, 100);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(use_in_child(rm, addr));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The parent's session is as it was. */
	check_remote(rm, addr, 100, 0);
	succeed(rmem_free(rm, addr));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- others than our rmemd ---- */

static uint8_t preamble_bytes[PREAMBLE_SIZE];

static void make_preamble(uint32_t magic, uint16_t version, int32_t status)
{
	const struct preamble p = {
		.magic = magic, .version = version, .purpose = PURPOSE_SESSION, .status = status
	};
	struct wire w = wire_over(preamble_bytes, sizeof(preamble_bytes));

	preamble_put(&w, &p);
	assert_false(w.failed);
}

static void meet_impostor(const struct impostor_manner *manner, int wanted, const char *mention)
{
	struct impostor *i = impostor_start(RIG_PORT_IMPOSTOR, manner);
	struct rmem *untouched = (struct rmem *)i;
	uint64_t began_ns = clock_boot_ns();
	char server[80];

	snprintf(server, sizeof(server), "%s:%d", rig_host(), RIG_PORT_IMPOSTOR);
	expect(rmem_open(server, NULL, &untouched), wanted, mention);
	assert_ptr_equal(untouched, i);
	assert_true(clock_boot_ns() - began_ns < 5 * NSEC_PER_SEC);
	assert_true(impostor_stop(i) > 0);
}

static void test_not_rmemd(void **state)
{
	static const char nonsense[] = "SSH-2.0-OpenSSH, or something";

	(void)state;
	meet_impostor(&(struct impostor_manner){ .accepts = true }, -EPROTO, "not rmemd");
	meet_impostor(
		&(struct impostor_manner){
			.accepts = true, .data = nonsense, .data_bytes = sizeof(nonsense) },
		-EPROTO, "not rmemd");
	meet_impostor(&(struct impostor_manner){ .accepts = false }, -EPROTO, "not rmemd");
	meet_impostor(
		&(struct impostor_manner){
			.accepts = false, .data = nonsense, .data_bytes = sizeof(nonsense) },
		-EPROTO, "not rmemd");
}

static void test_server_of_another_version(void **state)
{
	const struct impostor_manner accepts = {
		.accepts = true, .data = preamble_bytes, .data_bytes = PREAMBLE_SIZE
	};
	const struct impostor_manner rejects = {
		.accepts = false, .data = preamble_bytes, .data_bytes = PREAMBLE_SIZE
	};

	(void)state;
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, 0);
	meet_impostor(&accepts, -EPROTO, "version 2");
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, -EPROTONOSUPPORT);
	meet_impostor(&rejects, -EPROTO, "version 2");
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION, -EUSERS);
	meet_impostor(&rejects, -EUSERS, "all the clients");
}

static void test_client_of_another_version(void **state)
{
	struct rig *r = *state;
	struct raw_attr attr = { .private_data = preamble_bytes,
		.private_data_len = sizeof(preamble_bytes) };
	struct raw *raw = NULL;
	struct rmem *rm;

	rig_start(r, NULL);
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, 0);
	assert_int_equal(raw_connect(r->port, &attr, &raw), -ECONNREFUSED);
	assert_true(raw->has_answer);
	assert_int_equal(raw->answer.magic, PROTOCOL_MAGIC);
	assert_int_equal(raw->answer.version, PROTOCOL_VERSION);
	assert_int_equal(raw->answer.status, -EPROTONOSUPPORT);
	raw_close(raw);
	/* Who can talk to it still can. */
	rm = open_session(r);
	succeed(rmem_close(rm));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 0);
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_open_and_close), /* first: no call has failed yet */
		RIG_TEST(test_wrong_server_text),
		RIG_TEST(test_nobody_there),
		RIG_TEST(test_close_frees_nothing),
		RIG_TEST(test_bytes),
		RIG_TEST(test_zeroed_after_reuse),
		RIG_TEST(test_wrong_allocations),
		RIG_TEST(test_wrong_frees),
		RIG_TEST(test_wrong_ranges),
		RIG_TEST(test_range_across_two),
		RIG_TEST(test_vectors),
		RIG_TEST(test_wrong_vectors),
		RIG_TEST(test_threads),
		RIG_TEST(test_fork),
		RIG_TEST(test_not_rmemd),
		RIG_TEST(test_server_of_another_version),
		RIG_TEST(test_client_of_another_version),
	};

	return rig_main(RIG_PORT_API, tests, sizeof(tests) / sizeof(tests[0]));
}
