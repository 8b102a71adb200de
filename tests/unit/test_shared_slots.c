/* SPDX-License-Identifier: BSD-3-Clause */
/* Which objects of a slab are shared, and that the record of such a slot never comes again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "client/slabs/slab.h"
#include "tests/support/heap.h"

#define CLASS 8U /* slots of 64 bytes */
#define BYTES 8192U
#define SLOT 70U
#define TIMES 10000U /* the generation begins anew after 2048 */

static struct slab *open_slab(void)
{
	struct slab *s = slab_create(heap, CLASS, BYTES, false);

	assert_non_null(s);
	s->addr = 0x9e00000000010000ULL;
	return s;
}

/* As an allocation does it, in the second so many since the session began. */
static void hand_out(struct slab *s, uint32_t slot, uint32_t age_s)
{
	const uint64_t before = slab_record(s, slot);
	const struct object_record r = { .state = OBJECT_LIVE,
		.generation = object_record_unpack(before).generation + 1,
		.birth_s = age_s };

	atomic_store(&s->records[slot], slab_next_record(s, slot, before, object_record_pack(&r)));
}

static int by_value(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static unsigned count_different(uint64_t *records, unsigned n)
{
	unsigned different = 1;

	qsort(records, n, sizeof(*records), by_value);
	for (unsigned i = 1; i < n; i++)
		different += records[i] != records[i - 1];
	return different;
}

/* However often it is allocated and revoked within one second. */
static void test_never_again(void **state)
{
	static uint64_t records[TIMES];
	struct slab *s = open_slab();
	uint32_t slot;

	(void)state;
	for (unsigned i = 0; i < TIMES; i++) {
		hand_out(s, SLOT, 5);
		records[i] = slab_record(s, SLOT);
	}
	assert_int_equal(count_different(records, TIMES), 2048); /* it was never shared */
	assert_true(slab_set_shared(s, heap, SLOT, true));
	assert_true(slab_set_shared(s, heap, SLOT, false));
	for (unsigned i = 0; i < TIMES; i++) {
		if (i % 3)
			hand_out(s, SLOT, 5);
		else
			assert_true(slab_renew_object(s, slab_slot_addr(s, SLOT), &slot));
		records[i] = slab_record(s, SLOT);
	}
	assert_int_equal(count_different(records, TIMES), TIMES);
	/* Time goes on, and with it births. */
	hand_out(s, SLOT, 100);
	assert_int_equal(object_record_unpack(slab_record(s, SLOT)).birth_s, 100);
	/* Of a neighbour nothing is kept. */
	hand_out(s, SLOT + 1, 5);
	assert_int_equal(object_record_unpack(slab_record(s, SLOT + 1)).birth_s, 5);
}

static void test_shared_slots(void **state)
{
	struct slab *s = open_slab();
	uint32_t slot;

	(void)state;
	assert_false(slab_is_shared(s, slab_slot_addr(s, SLOT)));
	assert_true(slab_set_shared(s, heap, SLOT, true));
	assert_true(slab_is_shared(s, slab_slot_addr(s, SLOT)));
	assert_true(slab_is_shared(s, slab_slot_addr(s, SLOT) + 63));
	assert_false(slab_is_shared(s, slab_slot_addr(s, SLOT + 1)));
	assert_false(slab_is_shared(s, slab_slot_addr(s, s->slots)));
	assert_true(slab_set_shared(s, heap, SLOT, false));
	assert_false(slab_is_shared(s, slab_slot_addr(s, SLOT)));
	/* There is no object, or it does not begin there. */
	assert_false(slab_renew_object(s, slab_slot_addr(s, SLOT), &slot));
	hand_out(s, SLOT, 1);
	assert_false(slab_renew_object(s, slab_slot_addr(s, SLOT) + 8, &slot));
	assert_true(slab_renew_object(s, slab_slot_addr(s, SLOT), &slot));
	assert_int_equal(slot, SLOT);
	/* For the next slab in its memory nothing was ever shared. */
	assert_true(slab_set_shared(s, heap, SLOT, true));
	slab_reset(s, CLASS, BYTES);
	assert_false(slab_is_shared(s, slab_slot_addr(s, SLOT)));
	hand_out(s, SLOT, 9);
	hand_out(s, SLOT, 3);
	assert_int_equal(object_record_unpack(slab_record(s, SLOT)).birth_s, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_again),
		cmocka_unit_test(test_shared_slots),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
