/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory as the public header has it, sentence by sentence, against a real rmemd. Sessions: test_open.c; threads: test_threads.c. */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"
#include "tests/support/random.h"

/* ---- bytes ---- */

/* A local model of the allocation: random writes go to both, then all of both is compared. */
static void compare_with_model(struct rmem *rm, size_t bytes, uint64_t *seed)
{
	uint8_t *model = calloc(1, bytes), *buffer = malloc(bytes);
	rmem_addr_t addr = lib_alloc(rm, bytes);

	assert_non_null(model);
	assert_non_null(buffer);
	lib_check(rm, addr, bytes, 0);
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
		lib_succeed(rmem_write(rm, addr + offset, buffer, n));
		offset = random_below(seed, bytes);
		n = 1 + random_below(seed, bytes - offset);
		memset(buffer, 0x5a, bytes);
		lib_succeed(rmem_read(rm, buffer, addr + offset, n));
		assert_memory_equal(buffer, model + offset, n);
		if (n < bytes)
			assert_int_equal(buffer[n], 0x5a); /* not a byte more */
	}
	lib_succeed(rmem_read(rm, buffer, addr, bytes));
	assert_memory_equal(buffer, model, bytes);
	lib_succeed(rmem_free(rm, addr));
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
	rm = lib_open(r->server, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		compare_with_model(rm, sizes[i], &seed);
	lib_succeed(rmem_close(rm));
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
	rm = lib_open(r->server, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t bytes = sizes[i];
		rmem_addr_t seen[64] = { 0 };
		uint8_t *buffer = malloc(bytes);

		assert_non_null(buffer);
		pattern_fill(buffer, bytes, 77);
		for (int round = 0; round < 12; round++) {
			seen[round] = lib_alloc(rm, bytes);
			for (int k = 0; k < round; k++)
				reused |= seen[k] == seen[round];
			lib_check(rm, seen[round], bytes, 0);
			lib_succeed(rmem_write(rm, seen[round], buffer, bytes));
			lib_succeed(rmem_free(rm, seen[round]));
		}
		free(buffer);
	}
	assert_true(reused); /* or nothing was tested */
	lib_succeed(rmem_close(rm));
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
	rm = lib_open(r->server, 0);
	max = rig_ask_number(r, "status", "max_alloc_bytes");
	lib_expect(rmem_alloc(rm, 0, NULL, &addr), -EINVAL, "0 bytes");
	lib_expect(rmem_alloc(rm, (size_t)max + 1, NULL, &addr), -EFBIG, "at most");
	lib_expect(rmem_alloc(rm, SIZE_MAX, NULL, &addr), -EFBIG, "at most");
	attr.node = 63;
	lib_expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "63");
	attr.node = 1000;
	lib_expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "1000");
	attr.node = -2;
	lib_expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "-2");
	attr = (struct rmem_alloc_attr){ .size = 4 };
	lib_expect(rmem_alloc(rm, 1, &attr, &addr), -EINVAL, "size");
	lib_expect(rmem_alloc(NULL, 1, NULL, &addr), -EINVAL, "NULL");
	lib_expect(rmem_alloc(rm, 1, NULL, NULL), -EINVAL, "out");
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	/* The largest can be had, and then the pool is full. */
	while ((rc = rmem_alloc(rm, (size_t)max, NULL, &held[n])) == 0)
		n++;
	lib_expect(rc, -ENOSPC, "full");
	lib_expect(rmem_alloc(rm, 1, NULL, &addr), -ENOSPC, "full");
	assert_int_equal(addr, 1234);
	assert_true(n > 0);
	while (n)
		lib_succeed(rmem_free(rm, held[--n]));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_wrong_frees(void **state)
{
	struct rig *r = *state;
	struct rmem *rm, *other;
	rmem_addr_t addr, foreign;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	other = lib_open(r->server, 0);
	addr = lib_alloc(rm, 10000);
	foreign = lib_alloc(other, 10000);
	lib_succeed(rmem_free(rm, 0));
	lib_expect(rmem_free(rm, addr + 1), -EINVAL, "inside");
	lib_expect(rmem_free(rm, addr + 9999), -EINVAL, "inside");
	lib_expect(rmem_free(rm, addr + 10000), -EINVAL, "never allocated");
	lib_expect(rmem_free(rm, 42), -EINVAL, "never allocated");
	lib_expect(rmem_free(rm, UINT64_MAX), -EINVAL, "never allocated");
	lib_expect(rmem_free(rm, foreign), -EINVAL, "never allocated");
	lib_expect(rmem_free(NULL, addr), -EINVAL, "NULL");
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_free(rm, addr), -EINVAL, "freed already");
	/* Nothing of that has touched what is the other's. */
	lib_check(other, foreign, 10000, 0);
	lib_succeed(rmem_free(other, foreign));
	assert_int_equal(rig_ask_number(r, "status", "counters.frees"), 2);
	lib_succeed(rmem_close(other));
	lib_succeed(rmem_close(rm));
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
	rm = lib_open(r->server, 0);
	other = lib_open(r->server, 0);
	a = lib_alloc(rm, 5000);
	b = lib_alloc(other, 4096);
	gone = lib_alloc(rm, 4096);
	lib_succeed(rmem_free(rm, gone));
	lib_succeed(rmem_write(rm, a + 4999, buffer, 1)); /* the key of a is fetched */
	before = rig_ask(r, "status");

	lib_expect(rmem_write(rm, a + 5000, buffer, 1), -EFAULT, "not in any");
	lib_expect(rmem_write(rm, a + 4999, buffer, 2), -EFAULT, "pass the end");
	lib_expect(rmem_read(rm, buffer, a, 5001), -EFAULT, "pass the end");
	lib_expect(rmem_read(rm, buffer, a - 1, 1), -EFAULT, "not in any");
	lib_expect(rmem_read(rm, buffer, a - 1, 2), -EFAULT, "");
	lib_expect(rmem_read(rm, buffer, b, 8), -EFAULT, "not in any");
	lib_expect(rmem_read(rm, buffer, gone, 8), -EFAULT, "not in any");
	lib_expect(rmem_read(rm, buffer, 0, 8), -EFAULT, "");
	lib_expect(rmem_read(rm, buffer, UINT64_MAX, 8), -EFAULT, "");
	lib_expect(rmem_read(rm, buffer, UINT64_MAX - 3, 8), -EFAULT, "");
	lib_expect(rmem_read(rm, buffer, a + 8, SIZE_MAX - 4), -EINVAL, "");
	lib_expect(rmem_read(rm, NULL, a, 8), -EINVAL, "");
	lib_expect(rmem_write(rm, a, NULL, 8), -EINVAL, "");
	lib_expect(rmem_read(NULL, buffer, a, 8), -EINVAL, "NULL");
	/* 0 bytes is fine. */
	lib_succeed(rmem_read(rm, buffer, a, 0));
	lib_succeed(rmem_write(rm, a, NULL, 0));

	/* Nothing of that was sent: same connection, no request. */
	after = rig_ask(r, "status");
	assert_true(json_equal(
		json_object_get(before, "counters"), json_object_get(after, "counters")));
	assert_int_equal(rig_number(after, "sessions.connected"), 2);
	lib_check(rm, a, 5000, 0);
	json_decref(before);
	json_decref(after);
	lib_succeed(rmem_free(rm, a));
	lib_succeed(rmem_free(other, b));
	lib_succeed(rmem_close(other));
	lib_succeed(rmem_close(rm));
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
	rm = lib_open(r->server, 0);
	for (unsigned i = 0; i < 16; i++)
		addrs[i] = lib_alloc(rm, 4096);
	for (unsigned i = 0; i < 16; i++) {
		for (unsigned k = 0; k < 16; k++) {
			if (addrs[k] != addrs[i] + 4096)
				continue;
			lib_expect(rmem_read(rm, buffer, addrs[i], 8192), -EFAULT, "pass the end");
			lib_expect(
				rmem_read(rm, buffer, addrs[i] + 4095, 2), -EFAULT, "pass the end");
			pairs++;
		}
	}
	assert_true(pairs > 0);
	for (unsigned i = 0; i < 16; i++)
		lib_succeed(rmem_free(rm, addrs[i]));
	lib_succeed(rmem_close(rm));
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
	lib_succeed(rmem_writev(rm, local, nlocal, remote, nremote));
	at = 0;
	cut(lengths, nlocal, VECTOR_BYTES, seed);
	for (int i = 0; i < nlocal; at += lengths[i++])
		local[i] = (struct iovec){ in + at, lengths[i] };
	lib_succeed(rmem_readv(rm, local, nlocal, remote, nremote));
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
	rm = lib_open(r->server, 0);
	addr[0] = lib_alloc(rm, VECTOR_BYTES);
	addr[1] = lib_alloc(rm, VECTOR_BYTES);
	for (int i = 0; i < 12; i++)
		gather_and_scatter(rm, addr, &seed);
	lib_succeed(rmem_free(rm, addr[0]));
	lib_succeed(rmem_free(rm, addr[1]));
	lib_succeed(rmem_close(rm));
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
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 64);
	memset(mark, 0xee, sizeof(mark));
	lib_succeed(rmem_write(rm, addr, mark, sizeof(mark)));
	remote[0] = (struct rmem_iovec){ addr, 32 };
	remote[1] = (struct rmem_iovec){ addr + 32, 31 };
	lib_expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	lib_expect(rmem_writev(rm, local, 1, remote, 2), -EINVAL, "");
	remote[1].len = 33; /* totals differ, and it passes the end: nothing is sent in any case */
	lib_expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	remote[1] = (struct rmem_iovec){ addr + 33, 32 };
	lib_expect(rmem_writev(rm, local, 2, remote, 2), -EFAULT, "pass the end");
	remote[1] = (struct rmem_iovec){ addr + 32, 32 };
	for (int i = 0; i < 2000; i++)
		many[i] = (struct iovec){ bytes, 0 };
	lib_expect(rmem_writev(rm, many, 2000, remote, 2), -EINVAL, "");
	lib_expect(rmem_writev(rm, local, -1, remote, 2), -EINVAL, "");
	lib_expect(rmem_writev(rm, NULL, 2, remote, 2), -EINVAL, "");
	lib_expect(rmem_writev(rm, local, 2, NULL, 2), -EINVAL, "");
	local[1].iov_base = NULL;
	lib_expect(rmem_writev(rm, local, 2, remote, 2), -EINVAL, "");
	lib_succeed(rmem_writev(rm, NULL, 0, NULL, 0));
	lib_succeed(rmem_read(rm, bytes, addr, 64));
	assert_memory_equal(bytes, mark, 64);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- what the server moves ---- */

#define MOVED_BYTES (9 * MIB + 17) /* several turns of the server's */

/* Filled, and copied to and fro, at any place, as plain memory is; nothing beside it changes. */
static void test_server_moves(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 4096, 65536, 65537, 5 * MIB, MOVED_BYTES - 100 };
	uint8_t *model[2] = { lib_zeroes(MOVED_BYTES), lib_zeroes(MOVED_BYTES) };
	uint8_t *got = lib_zeroes(MOVED_BYTES);
	struct rig *r = *state;
	rmem_addr_t addr[2];
	uint64_t seed = 5;
	struct rmem *rm;

	rig_start(r, (const char *const[]){ "--size", "64M", NULL });
	rm = lib_open(r->server, 0);
	for (unsigned i = 0; i < 2; i++) {
		addr[i] = lib_alloc(rm, MOVED_BYTES);
		pattern_fill(model[i], MOVED_BYTES, i);
		lib_succeed(rmem_write(rm, addr[i], model[i], MOVED_BYTES));
	}
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t to = random_below(&seed, 101), from = random_below(&seed, 101);

		memcpy(model[i % 2] + to, model[!(i % 2)] + from, sizes[i]);
		lib_succeed(rmem_copy(rm, addr[i % 2] + to, addr[!(i % 2)] + from, sizes[i]));
		memset(model[i % 2] + from, (int)i, sizes[i] / 3);
		lib_succeed(rmem_fill(rm, addr[i % 2] + from, (uint8_t)i, sizes[i] / 3));
	}
	/* Inside one allocation, next to each other. */
	memcpy(model[0] + 70000, model[0], 70000);
	lib_succeed(rmem_copy(rm, addr[0] + 70000, addr[0], 70000));
	lib_expect(rmem_copy(rm, addr[0] + 69999, addr[0], 70000), -EINVAL, "overlap");
	lib_expect(rmem_copy(rm, addr[0], addr[0] + 69999, 70000), -EINVAL, "overlap");
	lib_expect(rmem_copy(rm, addr[0], addr[0], 1), -EINVAL, "overlap");
	lib_expect(rmem_copy(rm, addr[0], addr[1] + 1, MOVED_BYTES), -EFAULT, "pass the end");
	lib_expect(rmem_copy(rm, addr[0] + 1, addr[1], MOVED_BYTES), -EFAULT, "pass the end");
	lib_expect(rmem_fill(rm, addr[0] + MOVED_BYTES, 1, 1), -EFAULT, "");
	lib_expect(rmem_fill(rm, addr[0], 1, SIZE_MAX), -EFAULT, "pass the end");
	lib_expect(rmem_copy(rm, 4096, addr[0], 8), -EFAULT, "not in any allocation");
	lib_expect(rmem_copy(rm, addr[0], 4096, 8), -EFAULT, "not in any allocation");
	lib_expect(rmem_copy(NULL, addr[0], addr[1], 8), -EINVAL, "");
	for (unsigned i = 0; i < 2; i++) {
		lib_succeed(rmem_read(rm, got, addr[i], MOVED_BYTES));
		assert_memory_equal(got, model[i], MOVED_BYTES);
		lib_succeed(rmem_free(rm, addr[i]));
		free(model[i]);
	}
	lib_expect(rmem_fill(rm, addr[0], 1, 1), -EFAULT, "");
	free(got);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* Through slots, slabs and blocks, and back; what is shared stays. */
static void check_realloc(const char *server, uint32_t journal)
{
	static const size_t sizes[] = { 100, 104, 97, 300, 16000, 20000, 17000, 900000, 5, 8 };
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	uint8_t *model = lib_zeroes(900000), *got = lib_zeroes(900000);
	rmem_addr_t addr = 0, many[50];
	struct rmem_share_key key;
	struct rmem *rm = NULL;
	size_t before = 0;

	attr.journal = journal;
	lib_succeed(rmem_open(server, &attr, &rm));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		lib_succeed(rmem_realloc(rm, addr, sizes[i], NULL, &addr));
		before = before < sizes[i] ? before : sizes[i];
		lib_succeed(rmem_read(rm, got, addr, before));
		assert_memory_equal(got, model, before);
		before = sizes[i];
		pattern_fill(model, before, i);
		lib_succeed(rmem_write(rm, addr, model, before));
		lib_succeed(rmem_share(rm, addr, &key));
		lib_expect(rmem_realloc(rm, addr, 2 * before, NULL, &addr), -EBUSY, "shared");
		lib_succeed(rmem_unshare(rm, addr));
	}
	lib_expect(rmem_write(rm, addr + 5, model, 4), -EFAULT, "");
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_alloc_many(rm, 40, 50, NULL, many));
	for (unsigned i = 0; i < 50; i++)
		lib_succeed(rmem_write(rm, many[i], model, 40));
	lib_succeed(rmem_free_many(rm, many, 50));
	free(model);
	free(got);
	lib_succeed(rmem_close(rm));
}

static void test_another_length(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	check_realloc(r->server, RMEM_JOURNAL_LAZY);
	check_realloc(r->server, RMEM_JOURNAL_EXACT);
	rig_stop(r, false);
}

/* The server may still be about to write to it. */
static void expect_not_reused(struct rmem *rm, rmem_addr_t addr)
{
	rmem_addr_t other;

	lib_succeed(rmem_free(rm, addr));
	for (unsigned i = 0; i < 60; i++) {
		other = lib_alloc_object(rm, 24);
		assert_int_not_equal(other, addr);
	}
}

/* A copy that its caller has given up is not made again when the session comes back over another connection. */
static void test_given_up_copy(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	rmem_addr_t addr, other, small;
	struct rmem *rm = NULL;
	uint64_t word = 1;
	int rc;

	rig_start(r, NULL);
	attr.timeout_ms = 4000;          /* a busy machine connects in that */
	attr.flags = RMEM_OPEN_NO_SITES; /* while the server is stopped, none gets a number */
	lib_succeed(rmem_open(r->server, &attr, &rm));
	addr = lib_alloc(rm, 4096);
	lib_succeed(rmem_write(rm, addr, &word, sizeof(word)));
	small = lib_alloc_object(rm, 24);
	rig_freeze(r);
	assert_int_equal(rmem_copy(rm, addr + 64, addr, 8), -ETIMEDOUT);
	expect_not_reused(rm, small);
	rig_kill(r);
	rig_start(r, NULL);
	word = 2;
	while ((rc = rmem_write(rm, addr + 64, &word, sizeof(word))) == -ETIMEDOUT ||
		rc == -ECONNRESET)
		; /* until it has come back */
	lib_succeed(rc);
	other = lib_alloc(rm, 4096);
	assert_int_equal(lib_read_word(rm, addr + 64), 2);
	lib_succeed(rmem_copy(rm, other, addr, 8));
	assert_int_equal(lib_read_word(rm, other), 1);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_free(rm, other));
	lib_succeed(rmem_close(rm));
	rig_stop(r, true); /* with the objects */
}

/* ---- what is known without asking ---- */

static void test_stat(void **state)
{
	struct rmem_stat stat = RMEM_STAT_INIT, small = { .size = 8 };
	struct rmem_limits limits = RMEM_LIMITS_INIT;
	struct rig *r = *state;
	rmem_addr_t addr, next;
	uint64_t age_ns;
	struct rmem *rm;
	char who[80];

	rig_start(r, NULL);
	rm = lib_open(r->server, 3);
	addr = lib_alloc(rm, 100);
	next = lib_alloc(rm, 40000);
	lib_succeed(rmem_stat(rm, addr + 99, &stat));
	assert_true(stat.base == addr);
	assert_int_equal(stat.bytes, 100);
	assert_true(stat.usable_bytes >= 100);
	assert_int_equal(stat.flags, 0);
	assert_int_equal(stat.size, sizeof(stat));
	age_ns = stat.age_ns;
	lib_succeed(rmem_stat(rm, addr, &stat));
	assert_true(stat.age_ns >= age_ns && stat.age_ns < RIG_LIMIT_MS * 1000000ULL);
	snprintf(who, sizeof(who), "{\"cmd\":\"who-holds\",\"addr\":\"0x%llx\"}",
		(unsigned long long)addr);
	assert_int_equal(stat.serial, rig_ask_number(r, who, "allocation.id"));
	lib_succeed(rmem_stat(rm, next + 39999, &stat));
	assert_true(stat.base == next && stat.bytes == 40000);
	lib_expect(rmem_stat(rm, next, &small), -EINVAL, "size");
	lib_expect(rmem_stat(rm, next, NULL), -EINVAL, "out");
	lib_expect(rmem_stat(rm, 4096, &stat), -EFAULT, "not in any allocation");
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_stat(rm, addr, &stat), -EFAULT, "");
	lib_succeed(rmem_limits(rm, &limits));
	assert_int_equal(limits.size, sizeof(limits));
	assert_int_equal(limits.channels, 3);
	assert_int_equal(limits.all_channels, 64);
	assert_int_equal(limits.pieces, 1024);
	assert_int_equal(limits.flags, RMEM_LIMITS_ATOMICS);
	assert_true(limits.windows > 0 && limits.object_bytes < limits.alloc_bytes);
	addr = lib_alloc(rm, limits.alloc_bytes / 2);
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_alloc(rm, limits.alloc_bytes + 1, NULL, &addr), -EFBIG, "");
	lib_expect(rmem_limits(rm, NULL), -EINVAL, "out");
	lib_succeed(rmem_free(rm, next));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_bytes),
		RIG_TEST(test_zeroed_after_reuse),
		RIG_TEST(test_wrong_allocations),
		RIG_TEST(test_wrong_frees),
		RIG_TEST(test_wrong_ranges),
		RIG_TEST(test_range_across_two),
		RIG_TEST(test_vectors),
		RIG_TEST(test_wrong_vectors),
		RIG_TEST(test_server_moves),
		RIG_TEST(test_another_length),
		RIG_TEST(test_given_up_copy),
		RIG_TEST(test_stat),
	};

	return rig_main(RIG_PORT_API, tests, sizeof(tests) / sizeof(tests[0]));
}
