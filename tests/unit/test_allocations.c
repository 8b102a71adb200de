/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of own allocations against a plain list that is searched byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>

#include "client/allocations.h"
#include "tests/support/random.h"

#define BASE 0x9e00000000000000ULL
#define UNITS 200 /* the model's world: one entry per byte */
#define STEPS 20000

struct model {
	int owner[UNITS]; /* 0: nobody, else the id of an allocation */
	uint64_t start[STEPS + 1], bytes[STEPS + 1];
	bool forgettable[STEPS + 1];
};

static bool model_add(struct model *m, int id, uint64_t start, uint64_t bytes)
{
	for (uint64_t i = start; i < start + bytes; i++)
		if (m->owner[i] && !m->forgettable[m->owner[i]])
			return false;
	for (uint64_t i = start; i < start + bytes; i++) {
		int old = m->owner[i];

		for (int u = 0; old && u < UNITS; u++)
			if (m->owner[u] == old)
				m->owner[u] = 0;
	}
	for (uint64_t i = start; i < start + bytes; i++)
		m->owner[i] = id;
	m->start[id] = start;
	m->bytes[id] = bytes;
	return true;
}

static void check_lookups(const struct allocations *t, const struct model *m, uint64_t *seed)
{
	for (int i = 0; i < 20; i++) {
		uint64_t at = random_below(seed, UNITS), len = 1 + random_below(seed, UNITS);
		const struct own *exact = allocations_find(t, BASE + at);
		const struct own *range = allocations_find_range(t, BASE + at, len);
		int id = m->owner[at];
		bool starts = id && m->start[id] == at;
		bool inside = id && at + len <= m->start[id] + m->bytes[id];

		assert_int_equal(exact != NULL, starts);
		assert_int_equal(range != NULL, inside);
		if (range)
			assert_int_equal(range->origin.site, id);
	}
}

static void test_against_model(void **state)
{
	static struct model m;
	struct allocations t = { 0 };
	uint64_t seed = 2;

	(void)state;
	for (int id = 1; id <= STEPS; id++) {
		uint64_t at = random_below(&seed, UNITS), len = 1 + random_below(&seed, 12);
		struct own *own;
		int victim;

		if (at + len > UNITS)
			len = UNITS - at;
		switch (random_below(&seed, 3)) {
		case 0:
			assert_int_equal(allocations_add(&t, BASE + at, len,
						 (struct origin){ (uint32_t)id, NULL }),
				model_add(&m, id, at, len) ? 0 : -EEXIST);
			break;
		case 1:
			victim = m.owner[at];
			own = allocations_find_range(&t, BASE + at, 1);
			assert_int_equal(own != NULL, victim != 0);
			if (!own)
				break;
			allocations_remove(&t, own);
			for (int u = 0; u < UNITS; u++)
				if (m.owner[u] == victim)
					m.owner[u] = 0;
			break;
		default:
			own = allocations_find_range(&t, BASE + at, 1);
			if (own) {
				own->state = random_below(&seed, 2) ? OWN_STALE : OWN_FREED;
				m.forgettable[m.owner[at]] = true;
			}
		}
		check_lookups(&t, &m, &seed);
	}
	allocations_destroy(&t);
}

static void test_edges(void **state)
{
	struct allocations t = { 0 };

	(void)state;
	assert_null(allocations_find(&t, BASE));
	assert_null(allocations_find_range(&t, BASE, 1));
	assert_int_equal(allocations_add(&t, BASE, 0, (struct origin){ 1, NULL }), -EINVAL);
	assert_int_equal(
		allocations_add(&t, UINT64_MAX - 5, 10, (struct origin){ 1, NULL }), -EINVAL);
	assert_int_equal(allocations_add(&t, BASE, 100, (struct origin){ 1, NULL }), 0);
	/* Nothing wraps around. */
	assert_null(allocations_find_range(&t, BASE + 50, UINT64_MAX));
	assert_null(allocations_find_range(&t, BASE + 50, UINT64_MAX - BASE - 49));
	assert_null(allocations_find_range(&t, BASE - 1, 2));
	assert_null(allocations_find_range(&t, BASE + 100, 0));
	assert_non_null(allocations_find_range(&t, BASE + 99, 1));
	assert_non_null(allocations_find_range(&t, BASE, 100));
	assert_null(allocations_find_range(&t, BASE, 101));
	allocations_destroy(&t);
	allocations_destroy(&t);
}

static void test_stale_keeps_what_was_freed(void **state)
{
	struct allocations t = { 0 };

	(void)state;
	assert_int_equal(allocations_add(&t, BASE, 8, (struct origin){ 1, NULL }), 0);
	assert_int_equal(allocations_add(&t, BASE + 8, 8, (struct origin){ 2, NULL }), 0);
	allocations_find(&t, BASE + 8)->state = OWN_FREED;
	allocations_mark_stale(&t);
	assert_int_equal(allocations_find(&t, BASE)->state, OWN_STALE);
	assert_int_equal(allocations_find(&t, BASE + 8)->state, OWN_FREED);
	allocations_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_stale_keeps_what_was_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
