/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks that a scan looks for: found at their first byte, inside, not behind; against a search of the whole list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/scan/targets.h"
#include "common/addr.h"
#include "tests/support/heap.h"
#include "tests/support/random.h"

#define BLOCKS_MAX 700
#define MEETINGS 1000

static void test_order(void **state)
{
	const uint64_t a = addr_make(1, 4096),
		       last = addr_make(ADDR_SEGMENTS - 1, ADDR_OFFSET_MASK);
	const struct target good[] = { { a, 4096 }, { a + 4096, 0 }, { a + 4097, 1 }, { last, 1 } };
	const struct target bad[][2] = {
		{ { a, 10 }, { a + 9, 1 } }, /* overlap */
		{ { a, 0 }, { a, 1 } },      /* the same address */
		{ { a + 10, 1 }, { a, 1 } }, /* descending */
		{ { a, 10 }, { 4096, 1 } },  /* not remote */
		{ { a, 1 }, { last, 2 } },   /* ends behind what is remote */
		{ { a, 1 }, { a + 8, UINT64_MAX } },
	};
	struct targets t;

	(void)state;
	assert_int_equal(targets_init(&t, heap, good, 4, NULL, 0), 0);
	targets_destroy(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(targets_init(&t, heap, bad[i], 2, NULL, 0), -EINVAL);
		targets_destroy(&t);
		assert_int_equal(targets_init(&t, heap, NULL, 0, bad[i], 2), -EINVAL);
		targets_destroy(&t);
	}
	targets_destroy(&(struct targets){ 0 });
}

static void test_ends(void **state)
{
	const uint64_t a = addr_make(1, 4096);
	const struct target blocks[] = { { a, 100 }, { a + 100, 0 }, { a + 200, 1 } };
	const uint64_t words[] = { a + 99, a + 100, a + 101, a + 201, a - 1 };
	struct targets t;

	(void)state;
	assert_int_equal(targets_init(&t, heap, blocks, 3, NULL, 0), 0);
	targets_meet(&t, words, sizeof(words) / sizeof(*words));
	assert_true(!targets_start_met(&t, 0) && targets_interior_met(&t, 0));
	assert_true(targets_start_met(&t, 1) && !targets_interior_met(&t, 1));
	assert_true(!targets_start_met(&t, 2) && !targets_interior_met(&t, 2));
	targets_destroy(&t);
}

struct model {
	struct target blocks[BLOCKS_MAX];
	size_t n;
	bool starts[BLOCKS_MAX], interiors[BLOCKS_MAX];
};

/* In a few segments, close together and far apart. */
static void draw_blocks(struct model *m, uint64_t *seed)
{
	uint64_t at = addr_make(0, 0);

	*m = (struct model){ .n = random_below(seed, BLOCKS_MAX) };
	for (size_t i = 0; i < m->n; i++) {
		at += random_below(seed, 50) ? random_below(seed, 3) * 64 : 1ULL << 42;
		m->blocks[i].addr = at;
		m->blocks[i].bytes = random_below(seed, 200);
		at += m->blocks[i].bytes ? m->blocks[i].bytes : 1;
	}
}

static uint64_t some_address(const struct model *m, uint64_t *seed)
{
	const struct target *b = &m->blocks[m->n ? random_below(seed, m->n) : 0];
	const uint64_t at = m->n ? b->addr : addr_make(0, 100);

	return random_below(seed, 2) ? at : at - 100 + random_below(seed, 400);
}

static void meet(struct model *m, uint64_t addr)
{
	for (size_t i = 0; i < m->n; i++) {
		const uint64_t bytes = m->blocks[i].bytes ? m->blocks[i].bytes : 1;

		m->starts[i] |= addr == m->blocks[i].addr;
		m->interiors[i] |= addr > m->blocks[i].addr && addr - m->blocks[i].addr < bytes;
	}
}

static void test_model(void **state)
{
	static struct model m;
	uint64_t seed = 6, word;
	struct targets t;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		draw_blocks(&m, &seed);
		assert_int_equal(targets_init(&t, heap, m.blocks, m.n, NULL, 0), 0);
		for (unsigned i = 0; i < MEETINGS; i++) {
			word = some_address(&m, &seed);
			if (!addr_is_remote(word))
				continue;
			meet(&m, word);
			targets_meet(&t, &word, 1);
		}
		for (size_t i = 0; i < m.n; i++) {
			assert_int_equal(targets_start_met(&t, i), m.starts[i]);
			assert_int_equal(targets_interior_met(&t, i), m.interiors[i]);
		}
		targets_destroy(&t);
	}
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Others' addresses: once each, only in the spans, and no more than there is room for. */
static void test_strays(void **state)
{
	const uint64_t a = addr_make(1, 0), b = addr_make(70, 0);
	const struct target blocks[] = { { a + 4096, 100 }, { a + 8192, 100 } };
	const struct target spans[] = { { a, 1 << 20 }, { b, 1 << 20 } };
	const uint64_t words[] = { a, a, a + 4096, a + 4096 + 100, b + (1 << 20), b + (1 << 20) - 1,
		addr_make(2, 0), a - 1, a };
	static uint64_t out[TARGETS_STRAYS_MAX];
	struct targets t;
	uint64_t word;

	(void)state;
	assert_int_equal(targets_init(&t, heap, blocks, 2, spans, 2), 0);
	targets_meet(&t, words, sizeof(words) / sizeof(*words));
	assert_int_equal(targets_strays(&t, out), 3);
	qsort(out, 3, sizeof(*out), compare);
	assert_int_equal(out[0], a);
	assert_int_equal(out[1], a + 4096 + 100);
	assert_int_equal(out[2], b + (1 << 20) - 1);
	for (unsigned i = 0; i < TARGETS_STRAYS_MAX + 7; i++) {
		word = b + i;
		targets_meet(&t, &word, 1);
	}
	assert_int_equal(targets_strays(&t, out), TARGETS_STRAYS_MAX);
	assert_int_equal(t.strays_lost, 10);
	targets_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_strays),
	};

	return cmocka_run_group_tests_name("targets", tests, heap_begin, heap_end);
}
