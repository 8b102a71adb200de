/* SPDX-License-Identifier: BSD-3-Clause */
/* rmem_share(), rmem_attach(), rmem_detach(): sessions of one server use the same allocation. */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "rmem/rmem.h"
#include "tests/rxe/client.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"

#define BYTES (1UL << 20)

static const char *const patient[] = { "--ttl", "10m", NULL };

static uint8_t mine[BYTES], theirs[BYTES];

static rmem_addr_t must_share(struct rmem *rm, struct rmem_share_key *key)
{
	rmem_addr_t addr = lib_alloc(rm, BYTES);

	lib_succeed(rmem_share(rm, addr, key));
	return addr;
}

static void must_attach(struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key)
{
	size_t bytes = 0;

	lib_succeed(rmem_attach(rm, addr, key, &bytes));
	assert_int_equal(bytes, BYTES);
}

/* What one writes the other reads. */
static void exchange(struct rmem *from, struct rmem *to, rmem_addr_t addr, uint64_t seed)
{
	pattern_fill(mine, BYTES, seed);
	lib_succeed(rmem_write(from, addr, mine, BYTES));
	memset(theirs, 0, BYTES);
	lib_succeed(rmem_read(to, theirs, addr, BYTES));
	assert_int_equal(pattern_check(theirs, BYTES, seed), -1);
}

/* Two sessions, and an allocation of the first that the second uses. */
static rmem_addr_t open_pair(
	struct rig *r, struct rmem **a, struct rmem **b, struct rmem_share_key *key)
{
	rmem_addr_t addr;

	*a = lib_open(r->server, 0);
	*b = lib_open(r->server, 0);
	addr = must_share(*a, key);
	must_attach(*b, addr, key);
	exchange(*a, *b, addr, 1);
	return addr;
}

/* Its own objects are not for it to attach, wherever they lie in their slab; the others there are not lost by that. */
static void keeps_its_own(struct rmem *rm)
{
	struct rmem_share_key key;
	rmem_addr_t objects[3];

	lib_succeed(rmem_alloc_many(rm, 100, 3, NULL, objects));
	for (unsigned i = 0; i < 3; i++) {
		lib_succeed(rmem_share(rm, objects[i], &key));
		lib_expect(rmem_attach(rm, objects[i], &key, NULL), -EINVAL, "own allocation");
	}
	for (unsigned i = 0; i < 3; i++)
		lib_succeed(rmem_read(rm, mine, objects[i], 100));
	lib_succeed(rmem_free_many(rm, objects, 3));
}

static void test_two_sessions(void **state)
{
	struct rig *r = *state;
	struct rmem_share_key key, bad, again;
	struct rmem *a, *b;
	rmem_addr_t addr;
	uint64_t old;

	rig_start(r, patient);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	addr = must_share(a, &key);
	assert_int_equal(rmem_read(b, mine, addr, 8), -EFAULT);
	bad = key;
	bad.bytes[15] ^= 1;
	assert_int_equal(rmem_attach(b, addr, &bad, NULL), -EACCES);
	assert_int_equal(rmem_attach(b, addr + 8, &key, NULL), -EACCES);
	assert_int_equal(rmem_attach(b, 8, &key, NULL), -EINVAL);
	assert_int_equal(rmem_attach(b, addr, NULL, NULL), -EINVAL);
	assert_int_equal(rmem_attach(NULL, addr, &key, NULL), -EINVAL);
	assert_int_equal(rmem_attach(a, addr, &key, NULL), -EINVAL);
	keeps_its_own(a);
	must_attach(b, addr, &key);
	assert_int_equal(rmem_attach(b, addr, &key, NULL), -EEXIST);
	exchange(a, b, addr, 1);
	exchange(b, a, addr, 2);
	assert_int_equal(rmem_fetch_add(a, addr, 1, NULL), 0);
	assert_int_equal(rmem_fetch_add(b, addr, 1, &old), 0);
	assert_true(old == pattern_word(2, 0) + 1);
	assert_int_equal(rmem_read(b, mine, addr + BYTES - 4, 8), -EFAULT);
	/* It is not theirs. */
	assert_int_equal(rmem_free(b, addr), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "rmem_detach()"));
	assert_int_equal(rmem_share(b, addr, &again), -EINVAL);
	assert_int_equal(rmem_detach(a, addr), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "rmem_free()"));
	assert_int_equal(rmem_share(a, addr + 8, &again), -EINVAL);
	assert_int_equal(rmem_share(a, addr, NULL), -EINVAL);
	assert_int_equal(rmem_detach(b, addr), 0);
	assert_int_equal(rmem_read(b, mine, addr, 8), -EFAULT);
	assert_int_equal(rmem_detach(b, addr), -EINVAL);
	assert_int_equal(rmem_detach(b, 0), 0);
	must_attach(b, addr, &key);
	exchange(a, b, addr, 3);
	assert_int_equal(rmem_close(b), 0);
	exchange(a, a, addr, 4);
	assert_int_equal(rmem_free(a, addr), 0);
	assert_int_equal(rmem_close(a), 0);
	rig_stop(r, false);
}

static void test_owner_frees(void **state)
{
	struct rmem_queue *q = NULL;
	struct rmem_completion done;
	struct rig *r = *state;
	struct rmem_share_key key;
	struct rmem *a, *b;
	rmem_addr_t addr, again = 0;

	rig_start(r, patient);
	addr = open_pair(r, &a, &b, &key);
	assert_int_equal(rmem_queue_create(b, NULL, &q), 0);
	assert_int_equal(rmem_start_read(q, theirs, addr, BYTES, 7), 0);
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.status, 0);
	assert_int_equal(rmem_free(a, addr), 0);
	assert_int_equal(rmem_write(b, addr, mine, BYTES), -ESTALE);
	assert_non_null(strstr(rmem_errmsg(), "its owner has freed it"));
	assert_int_equal(rmem_start_read(q, theirs, addr, BYTES, 8), -ESTALE);
	/* The bytes of the next owner are untouched. */
	assert_int_equal(rmem_alloc(a, BYTES, NULL, &again), 0);
	exchange(a, a, again, 5);
	/* There the address means what is gone until it is detached. */
	lib_expect(rmem_attach(b, addr, &key, NULL), -EEXIST, "rmem_detach()");
	assert_int_equal(rmem_detach(b, addr), 0);
	assert_int_equal(rmem_attach(b, addr, &key, NULL), -EACCES);
	rmem_queue_destroy(q);
	exchange(a, a, again, 6);
	assert_int_equal(rmem_free(a, again), 0);
	assert_int_equal(rmem_close(a), 0);
	assert_int_equal(rmem_close(b), 0);
	rig_stop(r, false);
}

/* It stays attached over a restart, and over the loss of the session that attached it. */
static void put_word(struct rmem_queue *q, rmem_addr_t addr, uint64_t word)
{
	struct rmem_completion done;

	assert_int_equal(rmem_start_write(q, addr, &word, sizeof(word), 0), 0);
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.status, 0);
}

/*
 * The owner frees what b has attached, and b takes all memory there is: it gets nothing at that address, because
 * its program may still use it for what was attached. Detached, it is an address like any other.
 */
static void test_the_same_place(void **state)
{
	static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
	struct rig *r = *state;
	struct rmem_share_key key;
	rmem_addr_t addr, own[64];
	struct rmem_queue *q;
	struct rmem *a, *b;
	uint64_t word;
	int n = 0;

	rig_start(r, options);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	assert_int_equal(rmem_queue_create(b, NULL, &q), 0);
	addr = must_share(a, &key);
	must_attach(b, addr, &key);
	put_word(q, addr, 1);
	assert_int_equal(rmem_free(a, addr), 0);
	rig_await_wiped(r);
	for (; n < 63 && rmem_alloc(b, BYTES, NULL, &own[n]) == 0; n++)
		assert_true(own[n] != addr);
	assert_int_equal(n, 15);
	lib_expect(rmem_read(b, &word, addr, sizeof(word)), -ESTALE, "its owner has freed it");
	lib_expect(rmem_alloc(b, BYTES, NULL, &own[n]), -ENOSPC, "rmem_free()");
	assert_int_equal(rmem_detach(b, addr), 0);
	rig_await_wiped(r);
	assert_int_equal(rmem_alloc(b, BYTES, NULL, &own[n]), 0);
	assert_true(own[n++] == addr);
	put_word(q, addr, 2);
	while (n > 0)
		assert_int_equal(rmem_free(b, own[--n]), 0);
	assert_int_equal(rmem_close(b), 0);
	assert_int_equal(rmem_close(a), 0);
	rig_stop(r, false);
}

static void test_it_stays(void **state)
{
	struct rig *r = *state;
	struct rmem_share_key key;
	struct rmem *a, *b;
	rmem_addr_t addr;

	rig_start(r, patient);
	addr = open_pair(r, &a, &b, &key);
	rig_kill(r);
	rig_start(r, patient);
	exchange(a, b, addr, 2);
	exchange(b, a, addr, 3);
	assert_int_equal(rmem_free(a, addr), 0);
	assert_int_equal(rmem_close(a), 0);
	assert_int_equal(rmem_close(b), 0);
	rig_stop(r, false);
}

/* Another server knows nothing of it, at the same address. */
static void test_another_server(void **state)
{
	struct rig *r = *state;
	struct rmem_share_key key, other;
	struct rmem *a, *b;
	rmem_addr_t addr;

	rig_start(r, patient);
	a = lib_open(r->server, 0);
	addr = must_share(a, &key);
	assert_int_equal(rmem_free(a, addr), 0);
	assert_int_equal(rmem_close(a), 0);
	rig_stop(r, false);
	rig_start(r, patient);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	assert_true(must_share(a, &other) == addr);
	assert_int_equal(rmem_attach(b, addr, &key, NULL), -EXDEV);
	must_attach(b, addr, &other);
	assert_int_equal(rmem_free(a, addr), 0);
	assert_int_equal(rmem_close(a), 0);
	assert_int_equal(rmem_close(b), 0);
	rig_stop(r, false);
}

/* Its owner is killed: the block is its leak, and still there for the other, until it is taken back. */
static void test_owner_dies(void **state)
{
	static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
	struct rig *r = *state;
	struct rmem_share_key key;
	struct rmem *a, *b;
	rmem_addr_t addr, all[32];
	json_t *leaks;
	uint64_t word;
	int n = 0;

	rig_start(r, options);
	addr = open_pair(r, &a, &b, &key);
	assert_int_equal(rmem_close(a), 0);
	exchange(b, b, addr, 2);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 1);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	while (n < 32 && rmem_alloc(b, BYTES, NULL, &all[n]) == 0)
		n++;
	/* It was taken back, but not for b: there the address means what was shared until it is detached. */
	assert_int_equal(n, 15);
	lib_expect(rmem_read(b, &word, addr, sizeof(word)), -ESTALE, "is gone");
	assert_int_equal(rmem_detach(b, addr), 0);
	while (n)
		assert_int_equal(rmem_free(b, all[--n]), 0);
	assert_int_equal(rmem_close(b), 0);
	rig_stop(r, false);
}

/* The library refuses before the device would, on every way; the owner writes on. */
static void test_read_only(void **state)
{
	struct rmem_share_attr attr = RMEM_SHARE_ATTR_INIT;
	struct rmem_stat stat = RMEM_STAT_INIT;
	struct rmem_share_key key, all;
	struct rmem_completion done;
	struct rmem_queue *q = NULL;
	struct rig *r = *state;
	struct rmem *a, *b;
	rmem_addr_t addr, own;

	rig_start(r, patient);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	addr = must_share(a, &all);
	attr.flags = RMEM_SHARE_MAY_FREE << 1;
	lib_expect(rmem_share_with(a, addr, &attr, &key), -EINVAL, "flag");
	attr.flags = RMEM_SHARE_READ_ONLY;
	attr.reserved = 1;
	lib_expect(rmem_share_with(a, addr, &attr, &key), -EINVAL, "reserved");
	attr.reserved = 0;
	lib_succeed(rmem_share_with(a, addr, &attr, &key));
	must_attach(b, addr, &key);
	lib_succeed(rmem_queue_create(b, NULL, &q));
	for (int warm = 0; warm < 2; warm++) { /* without a key of the NIC, and with one */
		pattern_fill(mine, 64, 1 + (uint64_t)warm);
		lib_succeed(rmem_write(a, addr, mine, 64));
		lib_expect(rmem_write(b, addr, mine, 8), -EACCES, "for reading only");
		lib_expect(rmem_write(b, addr, mine, BYTES), -EACCES, "for reading only");
		lib_expect(rmem_fetch_add(b, addr, 1, NULL), -EACCES, "for reading only");
		lib_expect(rmem_compare_swap(b, addr, 0, 1, NULL), -EACCES, "for reading only");
		lib_expect(rmem_start_write(q, addr, mine, 8, 1), -EACCES, "for reading only");
		lib_expect(rmem_fill(b, addr, 1, 8), -EACCES, "for reading only");
		lib_succeed(rmem_start_read(q, theirs, addr, 64, 2));
		assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
		lib_succeed(done.status);
		lib_check(b, addr, 64, 1 + (uint64_t)warm);
	}
	lib_succeed(rmem_stat(b, addr + 5, &stat));
	assert_int_equal(stat.flags, RMEM_STAT_ATTACHED | RMEM_STAT_READ_ONLY);
	assert_true(stat.base == addr);
	/* It can be copied from, by the server. */
	own = lib_alloc(b, 64);
	lib_succeed(rmem_copy(b, own, addr, 64));
	lib_check(b, own, 64, 2);
	lib_expect(rmem_copy(b, addr, own, 64), -EACCES, "for reading only");
	/* With the other key it is written. */
	lib_succeed(rmem_detach(b, addr));
	must_attach(b, addr, &all);
	exchange(b, a, addr, 3);
	lib_succeed(rmem_free(b, own));
	lib_succeed(rmem_free(a, addr));
	lib_succeed(rmem_close(a));
	lib_succeed(rmem_close(b));
	rig_stop(r, false);
}

static void test_unshare(void **state)
{
	struct rmem_stat stat = RMEM_STAT_INIT;
	struct rmem_share_key key, again;
	struct rig *r = *state;
	struct rmem *a, *b;
	rmem_addr_t addr;

	rig_start(r, patient);
	addr = open_pair(r, &a, &b, &key);
	lib_succeed(rmem_stat(a, addr, &stat));
	assert_int_equal(stat.flags, RMEM_STAT_SHARED);
	lib_expect(rmem_unshare(b, addr), -EINVAL, "another session's");
	lib_expect(rmem_unshare(a, addr + 8), -EINVAL, "beginning");
	lib_succeed(rmem_unshare(a, 0));
	lib_succeed(rmem_unshare(a, addr));
	lib_succeed(rmem_stat(a, addr, &stat));
	assert_int_equal(stat.flags, 0);
	lib_expect(rmem_write(b, addr, mine, 8), -ESTALE, "does not share it any more");
	lib_check(a, addr, BYTES, 1);
	lib_expect(rmem_copy(b, addr, addr + 64, 8), -ESTALE, "");
	lib_succeed(rmem_detach(b, addr));
	lib_expect(rmem_attach(b, addr, &key, NULL), -EACCES, "revoked");
	lib_succeed(rmem_share(a, addr, &again));
	assert_memory_not_equal(&key, &again, sizeof(key));
	must_attach(b, addr, &again);
	exchange(b, a, addr, 4);
	lib_succeed(rmem_unshare(a, addr));
	lib_succeed(rmem_unshare(a, addr)); /* nobody has it */
	lib_succeed(rmem_free(a, addr));
	lib_expect(rmem_unshare(a, addr), -EINVAL, "beginning");
	lib_succeed(rmem_close(a));
	lib_succeed(rmem_close(b));
	rig_stop(r, false);
}

/* ---- objects ---- */

#define SMALL 100UL
#define SMALLS 5

/* Small allocations lie side by side: each is shared, detached, revoked and freed by itself. */
static void test_small_ones(void **state)
{
	struct rmem_share_attr to_read = { sizeof(to_read), RMEM_SHARE_READ_ONLY, 0 };
	struct rmem_share_key keys[SMALLS], again;
	struct rmem_stat stat = RMEM_STAT_INIT;
	struct rig *r = *state;
	rmem_addr_t addr[SMALLS];
	struct rmem *a, *b;
	size_t bytes;

	rig_start(r, patient);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	for (unsigned i = 0; i < SMALLS; i++) {
		addr[i] = lib_alloc_object(a, SMALL);
		lib_succeed(rmem_share_with(a, addr[i], i == 4 ? &to_read : NULL, &keys[i]));
		pattern_fill(mine, SMALL, i);
		lib_succeed(rmem_write(a, addr[i], mine, SMALL));
	}
	lib_succeed(rmem_stat(a, addr[0], &stat));
	assert_int_equal(stat.flags, RMEM_STAT_SHARED);
	lib_expect(rmem_share(a, addr[0] + 8, &again), -EINVAL, "beginning");
	lib_expect(rmem_attach(b, addr[1], &keys[2], NULL), -EACCES, "key");
	for (unsigned i = 0; i < SMALLS; i++) {
		lib_succeed(rmem_attach(b, addr[i], &keys[i], &bytes));
		assert_int_equal(bytes, SMALL);
		lib_check(b, addr[i], SMALL, i);
	}
	lib_expect(rmem_attach(b, addr[1], &keys[1], NULL), -EEXIST, "attached already");
	lib_expect(rmem_write(b, addr[1] + 1, mine, SMALL), -EFAULT, "pass the end");
	lib_expect(rmem_write(b, addr[4], mine, 8), -EACCES, "for reading only");
	lib_expect(rmem_free(b, addr[1]), -EINVAL, "rmem_detach()");
	/* One is detached, one is not shared any more, one is freed: the others are as they were. */
	lib_succeed(rmem_detach(b, addr[0]));
	lib_expect(rmem_read(b, theirs, addr[0], 8), -EFAULT, "not in any allocation");
	lib_succeed(rmem_unshare(a, addr[1]));
	lib_expect(rmem_read(b, theirs, addr[1], 8), -ESTALE, "does not share it any more");
	lib_succeed(rmem_free(a, addr[2]));
	lib_expect(rmem_read(b, theirs, addr[2], 8), -ESTALE, "is gone");
	pattern_fill(mine, SMALL, 9);
	lib_succeed(rmem_write(b, addr[3], mine, SMALL));
	lib_check(a, addr[3], SMALL, 9);
	lib_check(a, addr[1], SMALL, 1);
	lib_succeed(rmem_detach(b, addr[2]));
	/* What is allocated anew, in the same slot perhaps, nobody reaches with the old keys. */
	for (unsigned i = 0; i < SMALLS; i++) {
		const rmem_addr_t other = lib_alloc_object(a, SMALL);

		if (other == addr[2])
			lib_expect(rmem_attach(b, other, &keys[2], NULL), -EACCES, "key");
		lib_succeed(rmem_free(a, other));
	}
	lib_succeed(rmem_share(a, addr[1], &again));
	lib_succeed(rmem_detach(b, addr[1]));
	lib_expect(rmem_attach(b, addr[1], &keys[1], NULL), -EACCES, "key");
	lib_succeed(rmem_attach(b, addr[1], &again, NULL));
	lib_check(b, addr[1], SMALL, 1);
	/* Over a restart: what is shared stays, and its keys. */
	rig_kill(r);
	rig_start(r, patient);
	lib_check(b, addr[3], SMALL, 9);
	lib_succeed(rmem_attach(b, addr[0], &keys[0], NULL));
	lib_check(b, addr[0], SMALL, 0);
	for (unsigned i = 0; i < SMALLS; i++)
		if (i != 2)
			lib_succeed(rmem_free(a, addr[i]));
	lib_succeed(rmem_close(b));
	lib_succeed(rmem_close(a));
	rig_stop(r, false);
}

/* ---- frees by others ---- */

static struct rmem *three[3]; /* the first is the owner */

static void open_three(struct rig *r)
{
	for (unsigned i = 0; i < 3; i++)
		three[i] = lib_open(r->server, 0);
}

/* One that all may free. */
static rmem_addr_t allocate_for_all(size_t bytes)
{
	struct rmem_share_attr attr = { sizeof(attr), RMEM_SHARE_MAY_FREE, 0 };
	const rmem_addr_t addr =
		bytes == SMALL ? lib_alloc_object(three[0], bytes) : lib_alloc(three[0], bytes);
	struct rmem_share_key key;

	lib_succeed(rmem_share_with(three[0], addr, &attr, &key));
	for (unsigned i = 1; i < 3; i++) {
		lib_succeed(rmem_attach(three[i], addr, &key, NULL));
		pattern_fill(mine, SMALL, i);
		lib_succeed(rmem_write(three[i], addr, mine, SMALL));
		lib_check(three[0], addr, SMALL, i);
	}
	return addr;
}

/* The first session frees it, for all; the others are told which one it was. */
static void test_others_free(void **state)
{
	struct rig *r = *state;

	rig_start(r, patient);
	open_three(r);
	for (unsigned i = 0; i < 6; i++) {
		const unsigned first = i % 3, second = (i + 1) % 3, third = (i + 2) % 3;
		const rmem_addr_t addr = allocate_for_all(i < 3 ? SMALL : BYTES);

		lib_succeed(rmem_free(three[first], addr));
		if (second)
			lib_expect(rmem_write(three[second], addr, mine, 8), -ESTALE, "gone");
		lib_expect(rmem_free(three[second], addr), -EINVAL, "freed by session");
		lib_expect(rmem_free(three[third], addr), -EINVAL, "test_sharing, process");
		lib_expect(rmem_free(three[third], addr), -EINVAL, "was freed already");
	}
	for (unsigned i = 0; i < 3; i++)
		lib_succeed(rmem_close(three[i]));
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	rig_stop(r, false);
}

/* It stays freed over a restart, which forgets by whom; and the owner may be gone. */
static void test_others_free_what_is_left(void **state)
{
	rmem_addr_t addr, left, large;
	struct rig *r = *state;

	rig_start(r, patient);
	open_three(r);
	addr = allocate_for_all(SMALL);
	left = allocate_for_all(SMALL);
	large = allocate_for_all(BYTES);
	lib_succeed(rmem_free(three[1], addr));
	rig_kill(r);
	rig_start(r, patient);
	lib_expect(rmem_free(three[2], addr), -EINVAL, "freed already");
	lib_expect(rmem_free(three[0], addr), -EINVAL, "freed already");
	lib_check(three[2], left, SMALL, 2);
	lib_succeed(rmem_close(three[0]));
	lib_succeed(rmem_free(three[1], left));
	lib_expect(rmem_free(three[2], left), -EINVAL, "freed by session");
	lib_succeed(rmem_free(three[2], large));
	lib_expect(rmem_free(three[1], large), -EINVAL, "freed by session");
	lib_succeed(rmem_close(three[1]));
	lib_succeed(rmem_close(three[2]));
	rig_stop(r, true); /* the slab, without objects, is what the owner has left */
}

/* The owner learns it when it renews its lease, and uses the slot again. */
static void test_the_owner_learns_it(void **state)
{
	static const char *const options[] = { "--ttl", "2s", NULL };
	struct rmem_event event = RMEM_EVENT_INIT;
	struct pollfd fd = { .events = POLLIN };
	struct rig *r = *state;
	rmem_addr_t addr;

	rig_start(r, options);
	open_three(r);
	addr = allocate_for_all(SMALL);
	fd.fd = rmem_event_fd(three[0]);
	assert_true(fd.fd >= 0);
	lib_succeed(rmem_free(three[2], addr));
	do
		assert_int_equal(poll(&fd, 1, 30000), 1);
	while (rmem_next_event(three[0], &event) != 1 || event.kind != RMEM_EVENT_REVOKED);
	assert_true(event.addr == addr);
	lib_expect(rmem_read(three[0], theirs, addr, 8), -EFAULT, "another session has freed");
	lib_expect(rmem_free(three[0], addr), -EINVAL, "freed by session");
	for (unsigned i = 0; i < 3; i++)
		lib_succeed(rmem_close(three[i]));
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	rig_stop(r, false);
}

/* ---- handover ---- */

static long long blocks_of(struct rig *r)
{
	return rig_ask_number(r, "status", "allocations.blocks");
}

/* It is one session's all the time, with its bytes; and the other's when that has accepted it. */
static void test_handover(void **state)
{
	struct rmem_share_key shared, key, old;
	struct rig *r = *state;
	struct rmem *a, *b;
	rmem_addr_t addr, small;
	size_t bytes = 0;

	rig_start(r, patient);
	addr = open_pair(r, &a, &b, &shared);
	small = lib_alloc_object(a, 64);
	lib_expect(rmem_offer(a, small, &key), -EINVAL, "RMEM_ALLOC_ISOLATED");
	lib_expect(rmem_offer(b, addr, &key), -EINVAL, "beginning");
	lib_succeed(rmem_detach(b, addr));
	/* Offered, and taken back: it is as before, and the key is worth nothing. */
	lib_succeed(rmem_offer(a, addr, &old));
	lib_expect(rmem_read(a, theirs, addr, 8), -EFAULT, "was offered");
	lib_expect(rmem_attach(b, addr, &shared, NULL), -EACCES, "key");
	lib_expect(rmem_attach(b, addr, &old, NULL), -EACCES, "key");
	lib_succeed(rmem_unshare(a, addr));
	lib_check(a, addr, BYTES, 1);
	lib_expect(rmem_accept(b, addr, &old, NULL), -EACCES, "withdrawn");
	/* Over a restart, too, an offer is good, and the allocation one session's. */
	lib_succeed(rmem_offer(a, addr, &key));
	lib_expect(rmem_accept(a, addr, &key, NULL), -EEXIST, "already");
	rig_kill(r);
	rig_start(r, patient);
	lib_succeed(rmem_accept(b, addr, &key, &bytes));
	assert_int_equal(bytes, BYTES);
	assert_int_equal(blocks_of(r), 2);
	lib_check(b, addr, BYTES, 1);
	exchange(b, b, addr, 2);
	lib_expect(rmem_accept(b, addr, &key, NULL), -EEXIST, "already");
	lib_expect(rmem_unshare(a, addr), -ESTALE, "accepted");
	lib_expect(rmem_free(a, addr), -EINVAL, "never allocated");
	lib_expect(rmem_accept(a, addr, &key, NULL), -EACCES, "accepted already");
	/* Its new owner shares it, and hands it back. */
	lib_succeed(rmem_share(b, addr, &shared));
	lib_succeed(rmem_attach(a, addr, &shared, NULL));
	exchange(b, a, addr, 3);
	lib_succeed(rmem_detach(a, addr));
	lib_succeed(rmem_offer(b, addr, &key));
	lib_succeed(rmem_accept(a, addr, &key, NULL));
	lib_check(a, addr, BYTES, 3);
	lib_expect(rmem_free(b, addr), -ESTALE, "");
	/* A session that offers it and dies leaves it to the one that accepts it. */
	lib_succeed(rmem_offer(a, addr, &key));
	lib_succeed(rmem_free(a, small));
	lib_succeed(rmem_close(a));
	lib_succeed(rmem_accept(b, addr, &key, NULL));
	lib_check(b, addr, BYTES, 3);
	lib_succeed(rmem_free(b, addr));
	lib_succeed(rmem_close(b));
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_two_sessions),
		RIG_TEST(test_owner_frees),
		RIG_TEST(test_the_same_place),
		RIG_TEST(test_it_stays),
		RIG_TEST(test_another_server),
		RIG_TEST(test_owner_dies),
		RIG_TEST(test_read_only),
		RIG_TEST(test_unshare),
		RIG_TEST(test_small_ones),
		RIG_TEST(test_others_free),
		RIG_TEST(test_others_free_what_is_left),
		RIG_TEST(test_the_owner_learns_it),
		RIG_TEST(test_handover),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_SHARING, tests, sizeof(tests) / sizeof(tests[0]));
}
