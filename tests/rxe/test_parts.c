/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that are longer than a memory window can be: they are reached by parts, with a key for each. Here rmemd's
 * device says that a part is 1 MiB (narrow.c), except where the program is about the real limit.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/rxe/client.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"

#define PART MIB
#define PARTS 6 /* the last is short */
#define BYTES (5 * PART + 300344)
#define SEED 77
#define GIB (1024 * MIB)

static void start_with(struct rig *r, bool narrow, const char *protection)
{
	const char *const options[] = { "--ttl", "10m", "--size", "0:16M", "--protection",
		protection, NULL };

	if (narrow)
		setenv("LD_PRELOAD", NARROW_PATH, 1);
	rig_start(r, options);
	unsetenv("LD_PRELOAD");
}

static void start(struct rig *r, bool narrow)
{
	start_with(r, narrow, "auto");
}

static long long count_windows(struct rig *r)
{
	json_t *sessions = rig_ask(r, "sessions");
	long long n = rig_number(rig_session(sessions, getpid()), "quota.used.windows");

	json_decref(sessions);
	return n;
}

static uint8_t *pattern(size_t bytes)
{
	uint8_t *p = malloc(bytes);

	assert_non_null(p);
	pattern_fill(p, bytes, SEED);
	return p;
}

/* All of it, in one call. */
static void fill(struct rmem *rm, rmem_addr_t addr)
{
	uint8_t *p = pattern(BYTES);

	lib_succeed(rmem_write(rm, addr, p, BYTES));
	free(p);
}

/* ---- copies ---- */

/* A copy that begins in front of each boundary and ends behind it, both ways, and nothing beside it changes. */
static void copy_across(struct rmem *rm, rmem_addr_t addr, uint8_t *local, size_t bytes)
{
	for (uint64_t boundary = PART; boundary < BYTES; boundary += PART) {
		const uint64_t from = boundary - bytes / 2;

		memset(local, 0x5a, bytes);
		lib_succeed(rmem_write(rm, addr + from, local, bytes));
		memset(local, 0, bytes);
		lib_succeed(rmem_read(rm, local, addr + from, bytes));
		for (size_t i = 0; i < bytes; i++)
			assert_int_equal(local[i], 0x5a);
		pattern_fill_at(local, from, bytes, SEED);
		lib_succeed(rmem_write(rm, addr + from, local, bytes));
	}
	lib_check(rm, addr, BYTES, SEED);
}

/* Inline, bounced, registered for the operation, in place. */
static void copy_all_ways(struct rig *r, const char *protection)
{
	static const size_t lengths[] = { 16, 40, 3000, 60000, 400000 };
	struct rmem_limits limits = RMEM_LIMITS_INIT;
	uint8_t *registered;
	rmem_addr_t addr;
	struct rmem *rm;

	start_with(r, true, protection);
	rm = lib_open(r->server, 0);
	lib_succeed(rmem_limits(rm, &limits));
	assert_int_equal(limits.alloc_bytes, 16 * MIB);
	addr = lib_alloc(rm, BYTES);
	assert_int_equal(addr % PART, 0);
	lib_succeed(rmem_write(rm, addr + PART, "x", 1));
	assert_int_equal(count_windows(r), 1);
	fill(rm, addr);
	assert_int_equal(count_windows(r), PARTS);
	lib_check(rm, addr, BYTES, SEED);
	registered = lib_buffer(rm, 400000);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint8_t *plain = malloc(lengths[i]);

		assert_non_null(plain);
		copy_across(rm, addr, plain, lengths[i]);
		copy_across(rm, addr, registered, lengths[i]);
		free(plain);
	}
	lib_expect(rmem_read(rm, registered, addr + BYTES - 8, 16), -EFAULT, "pass the end");
	lib_succeed(rmem_free(rm, addr));
	lib_expect(rmem_read(rm, registered, addr + 3 * PART, 8), -EFAULT, "not in any");
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

static void test_copies(void **state)
{
	copy_all_ways(*state, "auto");
	copy_all_ways(*state, "window"); /* the pool's memory is registered in such pieces too */
}

/* Lists that go from part to part, and operations that are on their way together. */
static void test_queue(void **state)
{
	struct rmem_completion done[8];
	struct rmem_iovec remote[PARTS];
	struct iovec local[PARTS];
	struct rig *r = *state;
	uint64_t found = 0, sum = 0;
	struct rmem_queue *q;
	rmem_addr_t addr;
	struct rmem *rm;
	uint8_t *p;
	int n = 0;

	start(r, true);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, BYTES);
	q = lib_queue(rm, 8);
	p = pattern(BYTES);
	lib_succeed(rmem_start_write(q, addr, p, BYTES, 0));
	for (unsigned i = 0; i < 5; i++) { /* the same bytes, across each boundary */
		const uint64_t from = (i + 1) * PART - 100 * i;

		local[i] = (struct iovec){ p + from, 1000 };
		remote[i] = (struct rmem_iovec){ addr + from, 1000 };
	}
	lib_succeed(rmem_start_writev(q, local, 5, remote, 5, 1));
	lib_succeed(rmem_start_fetch_add(q, addr + 2 * PART - 8, 0, &found, 2));
	lib_succeed(rmem_start_fetch_add(q, addr + 2 * PART, 0, &sum, 3));
	while (n < 4)
		n += rmem_reap(q, done + n, 4 - n, -1);
	for (int i = 0; i < n; i++)
		assert_int_equal(done[i].status, 0);
	assert_true(found == pattern_word(SEED, (2 * PART - 8) / 8));
	assert_true(sum == pattern_word(SEED, 2 * PART / 8));
	free(p);
	rmem_queue_destroy(q);
	lib_check(rm, addr, BYTES, SEED);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* ---- several sessions ---- */

static void test_shared(void **state)
{
	struct rig *r = *state;
	struct rmem_share_key key;
	struct rmem *owner, *other;
	uint8_t bytes[64];
	rmem_addr_t addr;
	size_t length = 0;

	start(r, true);
	owner = lib_open(r->server, 0);
	other = lib_open(r->server, 0);
	addr = lib_alloc(owner, BYTES);
	fill(owner, addr);
	lib_succeed(rmem_share(owner, addr, &key));
	lib_succeed(rmem_attach(other, addr, &key, &length));
	assert_int_equal(length, BYTES);
	lib_check(other, addr, BYTES, SEED);
	lib_succeed(rmem_detach(other, addr));
	lib_succeed(rmem_attach(other, addr, &key, &length));
	lib_check(other, addr, BYTES, SEED);
	lib_succeed(rmem_unshare(owner, addr));
	for (unsigned i = 0; i < PARTS; i++)
		lib_expect(rmem_read(other, bytes, addr + i * PART, 8), -ESTALE, "gone");
	lib_check(owner, addr, BYTES, SEED);
	lib_succeed(rmem_detach(other, addr));
	lib_succeed(rmem_offer(owner, addr, &key));
	lib_succeed(rmem_accept(other, addr, &key, &length));
	lib_check(other, addr, BYTES, SEED);
	lib_expect(rmem_read(owner, bytes, addr + PART, 8), -EFAULT, "offered");
	lib_succeed(rmem_copy(other, addr, addr + 3 * PART - 500, 1000));
	lib_succeed(rmem_fill(other, addr + 2 * PART - 8, 9, 16));
	assert_true(lib_read_word(other, addr + 2 * PART) == 0x0909090909090909);
	lib_succeed(rmem_free(other, addr));
	lib_succeed(rmem_close(other));
	lib_succeed(rmem_close(owner));
	rig_end(r);
}

/* ---- ends ---- */

/* The parts of the next server may have another length: keys are asked for anew. */
static void test_restarts(void **state)
{
	static const bool narrow[] = { true, false, true };
	struct rig *r = *state;
	rmem_addr_t addr;
	struct rmem *rm;

	start(r, true);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, BYTES);
	fill(rm, addr);
	for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++) {
		rig_kill(r);
		start(r, narrow[i]);
		lib_check(rm, addr, BYTES, SEED);
		assert_int_equal(count_windows(r), narrow[i] ? PARTS : 1);
	}
	lib_succeed(rmem_free(rm, addr));
	rig_await_wiped(r);
	addr = lib_alloc(rm, BYTES);
	for (unsigned i = 0; i < PARTS; i++)
		assert_int_equal(lib_read_word(rm, addr + i * PART), 0);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* What a killed process held is taken back when others want it, and is zero. */
static void test_killed_client(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;
	rmem_addr_t addr;
	struct client *c;
	pid_t pid;

	start(r, true);
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	addr = client_alloc(c, 9 * PART, RMEM_NODE_ANY);
	client_fill(c, addr, 9 * PART, SEED);
	client_check(c, addr, 9 * PART, SEED);
	pid = c->pid;
	client_kill(c);
	rig_await_dead(r, pid);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 16 * PART);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(lib_read_word(rm, addr + i * PART + 8), 0);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* ... and what files in /dev/shm may still take. */
static uint64_t free_on_node_0(void)
{
	struct statvfs shm;
	FILE *f = fopen("/sys/devices/system/node/node0/meminfo", "r");
	char line[128];
	uint64_t kib = 0;

	while (f && !kib && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Node 0 MemFree: %" SCNu64, &kib);
	if (f)
		fclose(f);
	if (statvfs("/dev/shm", &shm))
		return 0;
	return kib * KIB < shm.f_bavail * shm.f_frsize ? kib * KIB : shm.f_bavail * shm.f_frsize;
}

/* More than any device's window: soft-RoCE's parts have 1 GiB. */
static void test_beyond_2_gib(void **state)
{
	const uint64_t bytes = 2 * GIB + 256 * MIB, available = free_on_node_0();
	struct rig *r = *state;
	uint8_t local[2000], back[2000];
	rmem_addr_t addr;
	struct rmem *rm;

	if (available < bytes + GIB / 2) {
		printf("skipped: %" PRIu64 " MiB are free on node 0: too few\n", available / MIB);
		return;
	}
	rig_start(r, (const char *const[]){ "--ttl", "10m", "--size", "0:2304M", NULL });
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, bytes);
	pattern_fill(local, sizeof(local), SEED);
	for (uint64_t at = 0; at < bytes; at += GIB / 2) {
		const uint64_t from = at ? at - 1000 : at;

		lib_succeed(rmem_write(rm, addr + from, local, sizeof(local)));
		lib_succeed(rmem_read(rm, back, addr + from, sizeof(back)));
		assert_memory_equal(local, back, sizeof(back));
	}
	assert_int_equal(count_windows(r), 3);
	lib_expect(rmem_read(rm, back, addr + bytes - 8, 16), -EFAULT, "pass the end");
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_copies),
		RIG_TEST(test_queue),
		RIG_TEST(test_shared),
		RIG_TEST(test_restarts),
		RIG_TEST(test_killed_client),
		RIG_TEST(test_beyond_2_gib),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_PARTS, tests, sizeof(tests) / sizeof(tests[0]));
}
