/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of a connection against a plain list of allocations that come, go and are attached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "client/data/key_cache.h"
#include "tests/support/heap.h"
#include "tests/support/random.h"

#define STEPS 200000
#define BLOCKS 200 /* more than are cached, so that they get into each other's way */
#define PAGE 4096UL
#define BLOCK_SPACE (4 * PAGE)
#define BASE 0x9e00000000010000ULL

struct block {
	_Atomic uint64_t live;
	uint64_t serial, addr, bytes;
	uint32_t rkey;
	bool lent, attached;
};

/* What keys.c does, in small: look into the cache, else into the table, and cache that. */
static bool find(struct key_cache *k, const struct block *b, uint32_t slot, uint64_t addr,
	size_t bytes, struct near_key *out)
{
	const struct near_key *near = key_cache_find(k, addr, bytes);
	uint32_t rkey;

	if (near) {
		*out = *near;
		return true;
	}
	if (!b->lent || addr < b->addr || addr + bytes > b->addr + b->bytes ||
		!key_cache_get(k, slot, b->serial, &rkey))
		return false;
	*out = (struct near_key){ b->addr, b->bytes, b->serial, &b->live, rkey, NULL };
	key_cache_remember(k, addr, out);
	return true;
}

static void lend_or_free(struct block *b, uint32_t slot, uint64_t *seed)
{
	static uint64_t serials;

	*b = (struct block){
		.lent = !b->lent,
		.serial = ++serials,
		.addr = BASE + slot * BLOCK_SPACE,
		.bytes = 1 + random_below(seed, BLOCK_SPACE),
	};
	b->live = b->lent ? b->serial : 0; /* all that the cache gets to know */
}

static void access_somewhere(
	struct key_cache *k, const struct block *b, uint32_t slot, uint64_t *seed)
{
	uint64_t offset = random_below(seed, BLOCK_SPACE);
	size_t bytes = 1 + random_below(seed, random_below(seed, 2) ? 16 : BLOCK_SPACE);
	bool right = b->lent && b->attached && offset < b->bytes && bytes <= b->bytes - offset;
	uint64_t addr = BASE + slot * BLOCK_SPACE + offset;
	struct near_key key = { 0 };

	assert_int_equal(find(k, b, slot, addr, bytes, &key), right);
	if (!right)
		return;
	assert_int_equal(key.rkey, b->rkey);
	assert_int_equal(key.serial, b->serial);
}

static void test_against_model(void **state)
{
	static struct block blocks[BLOCKS];
	struct key_cache k = { .heap = heap };
	uint64_t seed = 8;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		uint32_t slot = (uint32_t)random_below(&seed, BLOCKS);
		struct block *b = &blocks[slot];
		unsigned what = (unsigned)random_below(&seed, 100);

		if (what < 2) {
			lend_or_free(b, slot, &seed);
		} else if (what < 20 && b->lent && !b->attached) {
			b->attached = true;
			b->rkey = (uint32_t)random_u64(&seed);
			assert_int_equal(key_cache_set(&k, slot, b->serial, b->rkey), 0);
		} else if (i % 20011 == 0) { /* another connection */
			key_cache_clear(&k);
			for (size_t n = 0; n < BLOCKS; n++)
				blocks[n].attached = false;
		} else {
			access_somewhere(&k, b, slot, &seed);
		}
	}
	key_cache_destroy(&k);
}

static void test_other_allocation_in_the_slot(void **state)
{
	struct key_cache k = { .heap = heap };
	uint32_t rkey = 77;

	(void)state;
	assert_false(key_cache_get(&k, 0, 1, &rkey));
	assert_false(key_cache_get(&k, UINT32_MAX, 1, &rkey));
	assert_int_equal(key_cache_set(&k, 100000, 1, 5), 0);
	assert_true(key_cache_get(&k, 100000, 1, &rkey));
	assert_int_equal(rkey, 5);
	rkey = 77;
	assert_false(key_cache_get(&k, 100000, 2, &rkey)); /* freed, and its slot used again */
	assert_false(key_cache_get(&k, 99999, 1, &rkey));
	assert_int_equal(rkey, 77);
	key_cache_clear(&k);
	assert_false(key_cache_get(&k, 100000, 1, &rkey));
	key_cache_destroy(&k);
}

/* Keys of parts, in any order; one that starts where another of an earlier allocation did replaces that. */
static void test_parts(void **state)
{
	enum { PARTS = 300 };
	_Atomic uint64_t live = 0;
	struct key_cache k = { .heap = heap };
	uint32_t rkey = 77;

	(void)state;
	for (uint64_t serial = 1; serial < 3; serial++) {
		live = serial;
		for (uint64_t i = 0; i < PARTS; i++) {
			const uint64_t part = i * 7 % PARTS;

			assert_false(key_cache_get_part(&k, BASE + part, serial, &rkey));
			assert_int_equal(key_cache_set_part(&k, BASE + part, &live, serial,
						 (uint32_t)(serial * PARTS + part)),
				0);
		}
		for (uint64_t i = 0; i < PARTS; i++) {
			assert_false(key_cache_get_part(&k, BASE + i, serial - 1, &rkey));
			assert_true(key_cache_get_part(&k, BASE + i, serial, &rkey));
			assert_int_equal(rkey, serial * PARTS + i);
		}
		assert_false(key_cache_get_part(&k, BASE + PARTS, serial, &rkey));
		assert_false(key_cache_get_part(&k, BASE - 1, serial, &rkey));
	}
	assert_int_equal(k.nparts, PARTS);
	key_cache_clear(&k);
	assert_false(key_cache_get_part(&k, BASE, 2, &rkey));
	key_cache_destroy(&k);
}

/* Blocks of many parts come and go, each elsewhere: parts of those that are gone do not pile up. */
static void test_parts_of_gone(void **state)
{
	enum { PARTS = 100, TIMES = 50 };
	_Atomic uint64_t live[TIMES] = { 0 }, stays = TIMES + 1;
	struct key_cache k = { .heap = heap };
	uint32_t rkey;

	(void)state;
	for (uint64_t part = 0; part < PARTS; part++)
		assert_int_equal(
			key_cache_set_part(&k, BASE + 2 * part * PAGE, &stays, TIMES + 1, 5), 0);
	for (uint64_t i = 0; i < TIMES; i++) {
		const uint64_t base = BASE + (2 * i + 1) * PAGE;

		live[i] = i + 1;
		for (uint64_t part = 0; part < PARTS; part++)
			assert_int_equal(
				key_cache_set_part(&k, base + part, &live[i], i + 1, 7), 0);
		for (uint64_t part = 0; part < PARTS; part++) {
			assert_true(key_cache_get_part(&k, base + part, i + 1, &rkey));
			assert_true(
				key_cache_get_part(&k, BASE + 2 * part * PAGE, TIMES + 1, &rkey));
		}
		live[i] = 0;
	}
	assert_in_range(k.parts_capacity, 2 * PARTS, 8 * PARTS);
	key_cache_destroy(&k);
}

static bool finds(struct key_cache *k, uint64_t addr, size_t bytes, uint32_t rkey)
{
	const struct near_key *near = key_cache_find(k, addr, bytes);

	return near && near->rkey == rkey;
}

static void test_edges_of_a_range(void **state)
{
	const uint64_t last = UINT64_MAX - 2 * PAGE + 1;
	struct key_cache k = { .heap = heap };
	_Atomic uint64_t live = 1;

	(void)state;
	assert_null(key_cache_find(&k, 0, 1)); /* nothing is cached, not even null */
	assert_null(key_cache_find(&k, BASE, 0));
	key_cache_remember(&k, BASE + 10, &(struct near_key){ BASE, 100, 1, &live, 5, NULL });
	assert_true(finds(&k, BASE, 100, 5));
	assert_true(finds(&k, BASE + 99, 1, 5));
	assert_null(key_cache_find(&k, BASE, 101));
	assert_null(key_cache_find(&k, BASE + 100, 1));
	assert_null(key_cache_find(&k, BASE - 1, 2));
	assert_null(key_cache_find(&k, BASE + 1, SIZE_MAX));
	key_cache_remember(&k, BASE + 10, &(struct near_key){ BASE + 10, 100, 1, &live, 5, NULL });
	assert_null(key_cache_find(&k, BASE + 9, 1));
	assert_true(finds(&k, BASE + 10, 1, 5));
	/* No sum of it may wrap around. */
	key_cache_remember(&k, last, &(struct near_key){ last, PAGE, 1, &live, 6, NULL });
	assert_true(finds(&k, last, PAGE, 6));
	assert_null(key_cache_find(&k, last + 1, PAGE));
	assert_null(key_cache_find(&k, last + 1, SIZE_MAX));
	live = 0;
	assert_null(key_cache_find(&k, last, PAGE));
	key_cache_destroy(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_other_allocation_in_the_slot),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_parts_of_gone),
		cmocka_unit_test(test_edges_of_a_range),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
