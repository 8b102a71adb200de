/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of own allocations against a plain list that is searched byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>

#include "client/control/allocations.h"
#include "tests/support/random.h"

#define BASE 0x9e00000000000000ULL
#define UNITS 200 /* the model's world: one entry per byte */
#define STEPS 20000

struct model {
	int owner[UNITS]; /* 0: nobody, else the id of an allocation */
	uint64_t start[STEPS + 1], bytes[STEPS + 1];
	bool over[STEPS + 1];
};

static bool model_add(struct model *m, int id, uint64_t start, uint64_t bytes)
{
	for (uint64_t i = start; i < start + bytes; i++)
		if (m->owner[i])
			return false;
	for (uint64_t i = start; i < start + bytes; i++)
		m->owner[i] = id;
	m->start[id] = start;
	m->bytes[id] = bytes;
	return true;
}

static int add(struct allocations *t, int id, uint64_t at, uint64_t len, bool attached)
{
	static const uint8_t key[SHARE_KEY_SIZE];

	return attached ? allocations_attach(t, BASE + at, len, (uint64_t)id, key)
			: allocations_add(t, BASE + at, len, (uint64_t)id, (struct origin){ 0 });
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
			assert_int_equal(range->id, id);
	}
}

/* What is lost or freed is covered, nothing else is unless the ranges are used up, and they are in order. */
static void check_reserved(const struct allocations *t, const struct model *m)
{
	struct range ranges[AVOID_MAX];
	unsigned n = allocations_reserved(t, ranges), i = 0;

	assert_true(n <= AVOID_MAX);
	for (unsigned k = 1; k < n; k++)
		assert_true(ranges[k - 1].end <= ranges[k].start);
	for (uint64_t at = 0; at < UNITS; at++) {
		bool over = m->owner[at] && m->over[m->owner[at]];
		bool inside;

		while (i < n && ranges[i].end <= BASE + at)
			i++;
		inside = i < n && ranges[i].start <= BASE + at;
		if (over)
			assert_true(inside);
		else if (n < AVOID_MAX)
			assert_false(inside);
	}
}

/* What the server lends is nobody else's any more: it is lost, and stays where it is. */
static void displace(struct allocations *t, struct model *m, uint64_t at, uint64_t len)
{
	unsigned expected = 0;

	for (uint64_t i = at; i < at + len; i++) {
		int id = m->owner[i];

		if (!id || m->over[id])
			continue;
		m->over[id] = true;
		expected++;
	}
	assert_int_equal(allocations_displace(t, BASE + at, len), expected);
}

static void end_one(struct allocations *t, struct model *m, uint64_t at, bool removed)
{
	struct own *own = allocations_find_range(t, BASE + at, 1);
	int victim = m->owner[at];

	assert_int_equal(own != NULL, victim != 0);
	if (!own)
		return;
	m->over[victim] = true;
	if (!removed) {
		allocations_set_state(t, own, at % 2 ? OWN_STALE : OWN_FREED);
		return;
	}
	allocations_remove(t, own);
	for (int u = 0; u < UNITS; u++)
		if (m->owner[u] == victim)
			m->owner[u] = 0;
}

static void test_against_model(void **state)
{
	static struct model m;
	struct allocations t = { 0 };
	uint64_t seed = 2, last = 0;

	(void)state;
	for (int id = 1; id <= STEPS; id++) {
		uint64_t at = random_below(&seed, UNITS), len = 1 + random_below(&seed, 12);
		bool fits;

		if (at + len > UNITS)
			len = UNITS - at;
		switch (random_below(&seed, 8)) {
		case 0:
		case 1:
		case 2:
		case 3:
			fits = model_add(&m, id, at, len);
			assert_int_equal(add(&t, id, at, len, random_below(&seed, 3) == 0),
				fits ? 0 : -EEXIST);
			/* A later one has a greater number: that is how an operation knows what it meant. */
			if (fits) {
				assert_true(allocations_find(&t, BASE + at)->serial > last);
				last = allocations_find(&t, BASE + at)->serial;
			}
			break;
		case 4:
			displace(&t, &m, at, len);
			break;
		case 5:
			end_one(&t, &m, at, false);
			break;
		default:
			end_one(&t, &m, at, true);
		}
		check_lookups(&t, &m, &seed);
		check_reserved(&t, &m);
	}
	allocations_destroy(&t);
}

static void test_edges(void **state)
{
	struct allocations t = { 0 };

	(void)state;
	assert_null(allocations_find(&t, BASE));
	assert_null(allocations_find_range(&t, BASE, 1));
	assert_int_equal(allocations_add(&t, BASE, 0, 1, (struct origin){ 0 }), -EINVAL);
	assert_int_equal(allocations_add(&t, UINT64_MAX - 5, 10, 1, (struct origin){ 0 }), -EINVAL);
	assert_int_equal(allocations_add(&t, BASE, 100, 1, (struct origin){ 0 }), 0);
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
	assert_int_equal(allocations_add(&t, BASE, 8, 1, (struct origin){ 0 }), 0);
	assert_int_equal(allocations_add(&t, BASE + 8, 8, 2, (struct origin){ 0 }), 0);
	allocations_set_state(&t, allocations_find(&t, BASE + 8), OWN_FREED);
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
