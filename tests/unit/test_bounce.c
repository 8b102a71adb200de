/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of bounce memory against the naive idea of it: a list of pieces that must not meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/data/bounce.h"
#include "tests/support/heap.h"
#include "tests/support/random.h"

#define STEPS 200000
#define PIECES_MAX (BOUNCE_BYTES / BOUNCE_ALIGN)

struct piece {
	size_t start, bytes;
	uint64_t head; /* after it was taken: what gives it back */
};

/* What is taken, oldest first. */
struct model {
	struct bounce bounce;
	struct piece pieces[PIECES_MAX];
	size_t first, count;
};

static struct piece *piece(struct model *m, size_t i)
{
	return &m->pieces[(m->first + i) % PIECES_MAX];
}

static size_t some_bytes(uint64_t *seed)
{
	static const size_t limits[] = { 8, 64, 65, 1000, 4096, BOUNCE_PIECE_MAX };
	size_t limit = limits[random_below(seed, sizeof(limits) / sizeof(limits[0]))];

	return random_below(seed, 8) ? 1 + random_below(seed, limit) : limit;
}

static void check_apart(struct model *m, const struct piece *new)
{
	assert_true(new->start % BOUNCE_ALIGN == 0);
	assert_true(new->start + new->bytes <= BOUNCE_BYTES);
	for (size_t i = 0; i < m->count; i++) {
		const struct piece *old = piece(m, i);

		assert_true(old->start + old->bytes <= new->start ||
			    new->start + new->bytes <= old->start);
	}
}

static bool take(struct model *m, size_t bytes)
{
	uint8_t *p = bounce_take(&m->bounce, bytes);
	struct piece new = { .bytes = bytes, .head = m->bounce.head };

	if (!p) {
		assert_true(m->count > 0); /* when all is free, anything fits */
		return false;
	}
	new.start = (size_t)(p - m->bounce.memory);
	check_apart(m, &new);
	assert_true(m->count < PIECES_MAX);
	*piece(m, m->count++) = new;
	return true;
}

/* Give back the n oldest, with one call as a completion does, or one by one. */
static void give_back(struct model *m, size_t n, bool together)
{
	for (size_t i = 0; i < n; i++)
		if (!together || i + 1 == n)
			bounce_release(&m->bounce, piece(m, i)->head);
	m->first = (m->first + n) % PIECES_MAX;
	m->count -= n;
}

static void test_against_model(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t seed = 3;
	size_t most = 0, refusals = 0, wraps = 0;

	(void)state;
	assert_non_null(m);
	assert_int_equal(bounce_init(&m->bounce, heap), 0);
	for (int i = 0; i < STEPS; i++) {
		/* Mostly about full, going round and round; now and then it is emptied. */
		size_t some = random_below(&seed, 3000) ? 3 : m->count + 1;

		if (random_below(&seed, 3) && m->count < 1000) {
			refusals += !take(m, some_bytes(&seed));
			wraps += m->count > 1 &&
				 piece(m, m->count - 1)->start < piece(m, m->count - 2)->start;
		} else if (m->count) {
			some = some > m->count ? m->count : some;
			give_back(m, 1 + random_below(&seed, some), random_below(&seed, 2));
		}
		most = m->count > most ? m->count : most;
	}
	assert_true(most > 50);
	assert_true(refusals > 1000);
	assert_true(wraps > 1000);
	bounce_destroy(&m->bounce);
	free(m);
}

/* In a steady state nothing is lost: what was given back can be taken again, for ever. */
static void test_all_of_it(void **state)
{
	const size_t longest = BOUNCE_BYTES / BOUNCE_PIECE_MAX;
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	assert_int_equal(bounce_init(&m->bounce, heap), 0);
	for (size_t i = 0; i < longest; i++)
		assert_true(take(m, BOUNCE_PIECE_MAX));
	assert_false(take(m, 1));
	for (size_t i = 0; i < 5 * longest; i++) {
		give_back(m, 1, false);
		assert_true(take(m, BOUNCE_PIECE_MAX - i % BOUNCE_ALIGN));
		assert_false(take(m, 1));
	}
	give_back(m, m->count, true);
	for (size_t i = 0; i < PIECES_MAX; i++)
		assert_true(take(m, 1 + i % BOUNCE_ALIGN));
	assert_null(bounce_take(&m->bounce, 1));
	give_back(m, m->count, true);
	bounce_destroy(&m->bounce);
	free(m);
}

/* From every position, when nothing is taken, the longest piece fits. */
static void test_room_when_empty(void **state)
{
	struct bounce b;

	(void)state;
	assert_int_equal(bounce_init(&b, heap), 0);
	for (size_t bytes = 1; bytes <= BOUNCE_PIECE_MAX; bytes += 997) {
		assert_non_null(bounce_take(&b, bytes));
		assert_non_null(bounce_take(&b, BOUNCE_PIECE_MAX));
		bounce_release(&b, b.head);
		assert_non_null(bounce_take(&b, BOUNCE_PIECE_MAX));
		bounce_release(&b, b.head);
	}
	bounce_destroy(&b);
	bounce_destroy(&b); /* twice is fine */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_all_of_it),
		cmocka_unit_test(test_room_when_empty),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
