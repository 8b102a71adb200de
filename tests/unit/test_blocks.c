/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocks of a session against a plain list that is searched page by page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/control/blocks.h"
#include "tests/support/heap.h"
#include "tests/support/random.h"

#define BASE 0x9e00000000000000ULL
#define PAGE 4096ULL
#define UNITS 200 /* the model's world: one entry per page */
#define TAIL 100  /* bytes at the end of a last page that are no block's, now and then */
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

static uint64_t addr_of(uint64_t at)
{
	return BASE + at * PAGE;
}

static int add_block(struct blocks *t, uint64_t addr, uint64_t bytes, uint64_t id)
{
	return blocks_add(t, &(struct block){ .addr = addr, .bytes = bytes, .id = id });
}

static int add(struct blocks *t, int id, uint64_t at, uint64_t len, bool attached)
{
	return blocks_add(t, &(struct block){ .addr = addr_of(at),
				     .bytes = len * PAGE - (id % 3 ? 0 : TAIL),
				     .id = (uint64_t)id,
				     .attached = attached });
}

/* Without a lock a block is found while it is live, and with what it is. */
static void check_view(const struct blocks *t, uint64_t addr, const struct block *b, bool live)
{
	struct block_view view;

	assert_int_equal(blocks_view(t, addr, &view), live);
	if (!b)
		return;
	assert_true(view.addr == b->addr && view.bytes == b->bytes && view.slot == b->slot);
	assert_int_equal(view.serial, b->serial);
	assert_int_equal(*view.live, b->serial);
}

static void check_lookups(const struct blocks *t, const struct model *m, uint64_t *seed)
{
	for (int i = 0; i < 20; i++) {
		uint64_t at = random_below(seed, UNITS), len = 1 + random_below(seed, UNITS);
		const struct block *exact = blocks_find(t, addr_of(at));
		const struct block *range = blocks_find_range(t, addr_of(at), len * PAGE - TAIL);
		int id = m->owner[at];
		bool starts = id && m->start[id] == at;
		bool inside = id && at + len <= m->start[id] + m->bytes[id];

		assert_int_equal(exact != NULL, starts);
		assert_int_equal(range != NULL, inside);
		if (range)
			assert_int_equal(range->id, id);
		check_view(t, addr_of(at), id && !m->over[id] ? range : NULL, id && !m->over[id]);
	}
}

/* What is lost or freed is covered, nothing else is unless the ranges are used up, and they are in order. */
static void check_reserved(const struct blocks *t, const struct model *m)
{
	struct range ranges[AVOID_MAX];
	unsigned n = blocks_reserved(t, ranges), i = 0;

	assert_true(n <= AVOID_MAX);
	for (unsigned k = 1; k < n; k++)
		assert_true(ranges[k - 1].end <= ranges[k].start);
	for (uint64_t at = 0; at < UNITS; at++) {
		bool over = m->owner[at] && m->over[m->owner[at]];
		bool inside;

		while (i < n && ranges[i].end <= addr_of(at))
			i++;
		inside = i < n && ranges[i].start <= addr_of(at);
		if (over)
			assert_true(inside);
		else if (n < AVOID_MAX)
			assert_false(inside);
	}
}

/* What the server lends is nobody else's any more: it is lost, and stays where it is. */
static void displace(struct blocks *t, struct model *m, uint64_t at, uint64_t len)
{
	unsigned expected = 0, n = 0;
	struct block *block;

	for (uint64_t i = at; i < at + len; i++) {
		int id = m->owner[i];

		if (!id || m->over[id])
			continue;
		m->over[id] = true;
		expected++;
	}
	for (; (block = blocks_next_present(t, addr_of(at), len * PAGE - TAIL)) != NULL; n++)
		blocks_set_state(t, block, BLOCK_STALE);
	assert_int_equal(n, expected);
}

static void end_one(struct blocks *t, struct model *m, uint64_t at, bool removed)
{
	struct block *block = blocks_find_range(t, addr_of(at), 1);
	int victim = m->owner[at];

	assert_int_equal(block != NULL, victim != 0);
	if (!block)
		return;
	m->over[victim] = true;
	if (!removed) {
		blocks_set_state(t, block, at % 2 ? BLOCK_STALE : BLOCK_FREED);
		return;
	}
	blocks_remove(t, block);
	for (int u = 0; u < UNITS; u++)
		if (m->owner[u] == victim)
			m->owner[u] = 0;
}

static void test_against_model(void **state)
{
	static struct model m;
	struct blocks t = { 0 };
	uint64_t seed = 2, last = 0;

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
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
				assert_true(blocks_find(&t, addr_of(at))->serial > last);
				last = blocks_find(&t, addr_of(at))->serial;
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
}

static void test_edges(void **state)
{
	struct blocks t = { 0 };

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	assert_null(blocks_find(&t, BASE));
	assert_null(blocks_find(&t, 0));
	assert_null(blocks_find_range(&t, BASE, 1));
	assert_int_equal(add_block(&t, BASE, 0, 1), -EINVAL);
	assert_int_equal(add_block(&t, UINT64_MAX - 5, 10, 1), -EINVAL);
	assert_int_equal(add_block(&t, 4096, 10, 1), -EINVAL);
	assert_int_equal(add_block(&t, BASE + 8, 10, 1), -EINVAL);
	assert_int_equal(add_block(&t, BASE + (1ULL << 42) - PAGE, PAGE + 1, 1), -EINVAL);
	assert_int_equal(add_block(&t, BASE + (1ULL << 42) - PAGE, PAGE, 1), 0);
	assert_non_null(blocks_find(&t, BASE + (1ULL << 42) - PAGE));
	assert_int_equal(add_block(&t, BASE, 100, 1), 0);
	/* Nothing wraps around. */
	assert_null(blocks_find_range(&t, BASE + 50, UINT64_MAX));
	assert_null(blocks_find_range(&t, BASE + 50, UINT64_MAX - BASE - 49));
	assert_null(blocks_find_range(&t, BASE - 1, 2));
	assert_null(blocks_find_range(&t, BASE + 100, 0));
	assert_non_null(blocks_find_range(&t, BASE + 99, 1));
	assert_non_null(blocks_find_range(&t, BASE, 100));
	assert_null(blocks_find_range(&t, BASE, 101));
	/* An address of this process with the same low bits is none of ours. */
	assert_null(blocks_find(&t, BASE & ~(0xffULL << 56)));
}

static void test_stale_keeps_what_was_freed(void **state)
{
	struct blocks t = { 0 };

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	assert_int_equal(add_block(&t, BASE, 8, 1), 0);
	assert_int_equal(add_block(&t, BASE + PAGE, 8, 2), 0);
	assert_int_equal(add_block(&t, BASE + 2 * PAGE, 8, 3), 0);
	blocks_remove(&t, blocks_find(&t, BASE + 2 * PAGE));
	blocks_set_state(&t, blocks_find(&t, BASE + PAGE), BLOCK_FREED);
	blocks_mark_stale(&t);
	assert_int_equal(blocks_find(&t, BASE)->state, BLOCK_STALE);
	assert_int_equal(blocks_find(&t, BASE + PAGE)->state, BLOCK_FREED);
	assert_null(blocks_find(&t, BASE + 2 * PAGE));
}

/* Long runs take slots of upper nodes; after them the same addresses hold short ones, and the reverse. */
static void test_long_runs(void **state)
{
	static const uint64_t sizes[] = { PAGE, 4 << 20, 12 << 20, 4ULL << 30, 9ULL << 30, PAGE * 3,
		(4ULL << 30) + PAGE, 100 };
	struct blocks t = { 0 };

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	for (unsigned i = 0; i < 64; i++) {
		const uint64_t bytes = sizes[i % 8],
			       addr = BASE + 4 * PAGE + (i % 5) * (4ULL << 30) + i % 3 * PAGE;
		const struct block *b;

		assert_int_equal(add_block(&t, addr, bytes, i), 0);
		b = blocks_find(&t, addr);
		assert_non_null(b);
		assert_ptr_equal(blocks_find_range(&t, addr + bytes - 1, 1), b);
		assert_ptr_equal(blocks_find_range(&t, addr + bytes / 2, 1), b);
		assert_null(blocks_find_range(&t, addr - 1, 1));
		assert_null(blocks_find_range(&t, addr + bytes, 1));
		assert_ptr_equal(blocks_overlap(&t, addr - PAGE, bytes + 2 * PAGE), b);
		assert_null(blocks_overlap(&t, addr + bytes, 1ULL << 34));
		assert_int_equal(add_block(&t, addr, 1, 1), -EEXIST);
		blocks_remove(&t, blocks_find(&t, addr));
		assert_null(blocks_overlap(&t, BASE, 1ULL << 41));
	}
}

/*
 * Readers look blocks up while others are put in the same place: what they see is one of them, whole, and was live.
 * A block's bytes tell its serial.
 */
#define READ_STEPS 200000
static _Atomic bool stop, wrong;
static _Atomic size_t seen;

static void *read_blocks(void *blocks)
{
	const struct blocks *t = blocks;
	struct block_view view;

	while (!stop)
		if (blocks_view(t, BASE + 5, &view)) {
			if (view.bytes != 10 + view.serial || view.addr != BASE)
				wrong = true;
			seen++;
		}
	return NULL;
}

static void test_readers(void **state)
{
	struct blocks t = { 0 };
	pthread_t reader;

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	assert_int_equal(add_block(&t, BASE, 11, 0), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_blocks, &t), 0);
	for (uint64_t i = 1; i < READ_STEPS; i++) {
		if (i % 2)
			blocks_remove(&t, blocks_find(&t, BASE));
		else
			assert_int_equal(add_block(&t, BASE, 11 + i / 2, 0), 0);
	}
	assert_int_equal(blocks_find(&t, BASE) != NULL, READ_STEPS % 2);
	assert_int_equal(add_block(&t, BASE, 10 + READ_STEPS / 2 + 1, 0), 0);
	while (!seen) /* it finds at least this one */
		sched_yield();
	stop = true;
	pthread_join(reader, NULL);
	assert_false(wrong);
}

/* ---- attached objects ---- */

#define OBJECT 64U /* bytes of a slot */
#define OBJECTS 40 /* that are attached, at most: of a slab of two pages */

static const struct foreign_slab of_others = { BASE + 8 * PAGE, 2 * PAGE, 8 };

static int add_object(struct blocks *t, unsigned slot, uint64_t id)
{
	return blocks_add_object(t,
		&(struct block){ .addr = of_others.addr + slot * OBJECT,
			.bytes = OBJECT - slot % 8,
			.id = id,
			.attached = true,
			.key = { (uint8_t)slot } },
		&of_others);
}

/* What a state of the program's view must be, slot by slot: 0 nothing, 1 attached, 2 gone and not given up. */
static void check_objects(struct blocks *t, const uint8_t states[OBJECTS])
{
	struct range ranges[AVOID_MAX];
	struct block_view view;
	bool any = false, over = false;

	for (unsigned i = 0; i < OBJECTS; i++) {
		const uint64_t addr = of_others.addr + i * OBJECT;
		const struct block *b = blocks_find(t, addr);

		any |= states[i] != 0;
		over |= states[i] == 2;
		assert_int_equal(b != NULL, states[i] != 0);
		assert_int_equal(blocks_view(t, addr + 3, &view), states[i] == 1);
		if (!b)
			continue;
		assert_int_equal(b->state, states[i] == 1 ? BLOCK_LIVE : BLOCK_STALE);
		assert_int_equal(b->key[0], i);
		assert_ptr_equal(blocks_find_range(t, addr + 1, OBJECT - i % 8 - 1), b);
		assert_null(blocks_find_range(t, addr + 1, OBJECT - i % 8));
		if (states[i] == 1)
			assert_true(view.addr == addr && view.bytes == OBJECT - i % 8);
	}
	/* All of the slab is kept as long as one is gone. */
	assert_int_equal(blocks_reserved(t, ranges), over);
	if (over)
		assert_true(ranges[0].start == of_others.addr &&
			    ranges[0].end == of_others.addr + of_others.bytes);
	assert_int_equal(blocks_overlap(t, of_others.addr, of_others.bytes) != NULL, any);
}

static void change_one(struct blocks *t, uint8_t states[OBJECTS], uint64_t *seed)
{
	const unsigned i = (unsigned)random_below(seed, OBJECTS);
	struct block *b = blocks_find(t, of_others.addr + i * OBJECT);

	if (!b) {
		assert_int_equal(add_object(t, i, 5), 0);
		assert_int_equal(add_object(t, i, 5), -EEXIST);
		states[i] = 1;
	} else if (random_below(seed, 3) || states[i] == 2) {
		blocks_remove(t, b);
		states[i] = 0;
	} else {
		blocks_set_state(t, b, BLOCK_STALE);
		states[i] = 2;
	}
}

static void test_objects(void **state)
{
	uint8_t states[OBJECTS] = { 0 };
	struct blocks t = { 0 };
	struct block *b;
	uint64_t seed = 7;

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	for (unsigned i = 0; i < 3000; i++) {
		change_one(&t, states, &seed);
		check_objects(&t, states);
		if (i % 500)
			continue;
		/* The server lends a page of it to this session: nothing of it is there any more. */
		while ((b = blocks_next_present(&t, of_others.addr + PAGE, 1)) != NULL)
			blocks_set_state(&t, b, BLOCK_STALE);
		for (unsigned k = 0; k < OBJECTS; k++)
			states[k] = states[k] ? 2 : 0;
		check_objects(&t, states);
		for (unsigned k = 0; k < OBJECTS; k++) {
			if (states[k])
				blocks_remove(&t, blocks_find(&t, of_others.addr + k * OBJECT));
			states[k] = 0;
		}
	}
}

/* What no server says of an object, and what is in its way. */
static void test_impossible_objects(void **state)
{
	const struct foreign_slab no_class = { of_others.addr, 2 * PAGE, 0 };
	const struct foreign_slab no_pages = { of_others.addr, 2 * PAGE + 1, 8 };
	const struct foreign_slab off = { of_others.addr + 8, 2 * PAGE, 8 };
	struct block new = { .addr = of_others.addr, .bytes = OBJECT, .id = 5, .attached = true };
	struct blocks t = { 0 };

	(void)state;
	assert_int_equal(blocks_init(&t, heap, NULL), 0);
	assert_int_equal(blocks_add_object(&t, &new, &no_class), -EINVAL);
	assert_int_equal(blocks_add_object(&t, &new, &no_pages), -EINVAL);
	assert_int_equal(blocks_add_object(&t, &new, &off), -EINVAL);
	new.bytes = OBJECT + 1;
	assert_int_equal(blocks_add_object(&t, &new, &of_others), -EINVAL);
	new.bytes = OBJECT;
	new.addr = of_others.addr + 8;
	assert_int_equal(blocks_add_object(&t, &new, &of_others), -EINVAL);
	new.addr = of_others.addr + 2 * PAGE - OBJECT; /* where records are */
	assert_int_equal(blocks_add_object(&t, &new, &of_others), -EINVAL);
	new.addr = of_others.addr - OBJECT;
	assert_int_equal(blocks_add_object(&t, &new, &of_others), -EINVAL);
	assert_null(blocks_overlap(&t, of_others.addr, of_others.bytes));
	/* A block of this session, or another slab. */
	assert_int_equal(add_block(&t, of_others.addr + PAGE, PAGE, 1), 0);
	assert_int_equal(add_object(&t, 0, 5), -EEXIST);
	blocks_remove(&t, blocks_find(&t, of_others.addr + PAGE));
	assert_int_equal(add_object(&t, 0, 5), 0);
	assert_int_equal(add_object(&t, 1, 6), -EEXIST);
	assert_int_equal(add_block(&t, of_others.addr + PAGE, PAGE, 1), -EEXIST);
	blocks_remove(&t, blocks_find(&t, of_others.addr));
	assert_int_equal(add_block(&t, of_others.addr, PAGE, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_stale_keeps_what_was_freed),
		cmocka_unit_test(test_long_runs),
		cmocka_unit_test(test_readers),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_impossible_objects),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
