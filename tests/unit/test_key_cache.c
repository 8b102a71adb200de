/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of a connection against a plain list of allocations that come, go and are attached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "client/data/key_cache.h"
#include "tests/support/random.h"

#define STEPS 200000
#define BLOCKS 200 /* more than are cached, so that they get into each other's way */
#define PAGE 4096UL
#define BLOCK_SPACE (4 * PAGE)
#define BASE 0x9e00000000010000ULL

struct block {
	uint64_t serial, addr, bytes;
	uint32_t rkey;
	bool lent, attached;
};

/* What channel.c does with keys, in small: look into the cache, else into the table, and cache that. */
static bool find(struct key_cache *k, const struct block *b, uint32_t slot, uint64_t addr,
	size_t bytes, uint32_t *out_rkey)
{
	if (key_cache_find(k, addr, bytes, out_rkey))
		return true;
	if (!b->lent || addr < b->addr || addr + bytes > b->addr + b->bytes ||
		!key_cache_get(k, slot, b->serial, out_rkey))
		return false;
	key_cache_remember(
		k, addr, &(struct near_key){ b->addr, b->addr + b->bytes, b->serial, *out_rkey });
	return true;
}

static void lend_or_free(struct key_cache *k, struct block *b, uint32_t slot, uint64_t *seed)
{
	static uint64_t serials;

	*b = (struct block){
		.lent = !b->lent,
		.serial = ++serials,
		.addr = BASE + slot * BLOCK_SPACE,
		.bytes = 1 + random_below(seed, BLOCK_SPACE),
	};
	key_cache_forget_near(k); /* the table has changed */
}

static void access_somewhere(
	struct key_cache *k, const struct block *b, uint32_t slot, uint64_t *seed)
{
	uint64_t offset = random_below(seed, BLOCK_SPACE);
	size_t bytes = 1 + random_below(seed, random_below(seed, 2) ? 16 : BLOCK_SPACE);
	bool right = b->lent && b->attached && offset < b->bytes && bytes <= b->bytes - offset;
	uint64_t addr = BASE + slot * BLOCK_SPACE + offset;
	uint32_t rkey = 0;

	assert_int_equal(find(k, b, slot, addr, bytes, &rkey), right);
	if (!right)
		return;
	assert_int_equal(rkey, b->rkey);
	/* An operation that was started before it was lent meant something else. */
	assert_true(key_cache_find_as_of(k, addr, bytes, b->serial, &rkey));
	assert_false(key_cache_find_as_of(k, addr, bytes, b->serial - 1, &rkey));
}

static void test_against_model(void **state)
{
	static struct block blocks[BLOCKS];
	struct key_cache k = { 0 };
	uint64_t seed = 8;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		uint32_t slot = (uint32_t)random_below(&seed, BLOCKS);
		struct block *b = &blocks[slot];
		unsigned what = (unsigned)random_below(&seed, 100);

		if (what < 2) {
			lend_or_free(&k, b, slot, &seed);
		} else if (what < 20 && b->lent) {
			b->attached = true;
			b->rkey = (uint32_t)random_u64(&seed);
			assert_int_equal(key_cache_set(&k, slot, b->serial, b->rkey), 0);
			key_cache_forget_near(&k);
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
	struct key_cache k = { 0 };
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
	key_cache_destroy(&k);
}

static void test_edges_of_a_range(void **state)
{
	const uint64_t last = UINT64_MAX - 2 * PAGE + 1;
	struct key_cache k = { 0 };
	uint32_t rkey = 77;

	(void)state;
	assert_false(key_cache_find(&k, 0, 1, &rkey)); /* nothing is cached, not even null */
	assert_false(key_cache_find(&k, BASE, 0, &rkey));
	key_cache_remember(&k, BASE + 10, &(struct near_key){ BASE, BASE + 100, 1, 5 });
	assert_true(key_cache_find(&k, BASE, 100, &rkey));
	assert_true(key_cache_find(&k, BASE + 99, 1, &rkey));
	assert_int_equal(rkey, 5);
	assert_false(key_cache_find(&k, BASE, 101, &rkey));
	assert_false(key_cache_find(&k, BASE + 100, 1, &rkey));
	assert_false(key_cache_find(&k, BASE - 1, 2, &rkey));
	assert_false(key_cache_find(&k, BASE + 1, SIZE_MAX, &rkey));
	key_cache_remember(&k, BASE + 10, &(struct near_key){ BASE + 10, BASE + 110, 1, 5 });
	assert_false(key_cache_find(&k, BASE + 9, 1, &rkey));
	assert_true(key_cache_find(&k, BASE + 10, 1, &rkey));
	key_cache_remember(&k, last,
		&(struct near_key){ last, last + PAGE, 1, 6 }); /* no sum of it may wrap around */
	assert_true(key_cache_find(&k, last, PAGE, &rkey));
	assert_false(key_cache_find(&k, last + 1, PAGE, &rkey));
	assert_false(key_cache_find(&k, last + 1, SIZE_MAX, &rkey));
	key_cache_destroy(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_other_allocation_in_the_slot),
		cmocka_unit_test(test_edges_of_a_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
