/* SPDX-License-Identifier: BSD-3-Clause */
/* Size classes, how slabs are divided, and the records of slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/object_record.h"
#include "common/size_class.h"

static void each_size_gets_the_smallest_class(void **state)
{
	(void)state;
	for (uint32_t bytes = 1; bytes <= OBJECT_BYTES_MAX; bytes++) {
		const unsigned c = size_class_of(bytes, 1);

		assert_in_range(c, 1, SIZE_CLASSES - 1);
		assert_true(size_class_bytes(c) >= bytes);
		assert_true(size_class_bytes(c - 1) < bytes);
	}
	assert_int_equal(size_class_bytes(SIZE_CLASSES - 1), OBJECT_BYTES_MAX);
}

static void waste_is_at_most_an_eighth(void **state)
{
	(void)state;
	for (uint32_t bytes = 1; bytes <= OBJECT_BYTES_MAX; bytes++) {
		const uint32_t slot = size_class_bytes(size_class_of(bytes, 1));

		if (bytes <= 64)
			assert_true(slot - bytes < 8);
		else
			assert_true((slot - bytes) * 9 < slot);
	}
}

static void slots_are_aligned(void **state)
{
	(void)state;
	for (uint32_t bytes = 1; bytes <= OBJECT_BYTES_MAX; bytes++) {
		const uint32_t natural = bytes & -bytes;
		const uint32_t slot = size_class_bytes(size_class_of(bytes, 1));

		assert_int_equal(
			slot % (natural < OBJECT_ALIGN_MAX ? natural : OBJECT_ALIGN_MAX), 0);
		for (uint32_t align = 1; align <= OBJECT_ALIGN_MAX; align *= 2) {
			const uint32_t aligned = size_class_bytes(size_class_of(bytes, align));

			assert_true(aligned >= bytes);
			assert_int_equal(aligned % align, 0);
			/* What was not asked for fits its place in a record. */
			assert_true(aligned - bytes <= OBJECT_SLACK_MAX);
		}
	}
}

static void no_class(void **state)
{
	(void)state;
	assert_int_equal(size_class_of(0, 1), 0);
	assert_int_equal(size_class_of(OBJECT_BYTES_MAX + 1, 1), 0);
	assert_int_equal(size_class_of(UINT64_MAX, 1), 0);
	assert_int_equal(size_class_of(1, 2 * OBJECT_ALIGN_MAX), 0);
	assert_int_equal(size_class_bytes(0), 0);
	assert_int_equal(size_class_bytes(SIZE_CLASSES), 0);
	assert_int_equal(size_class_bytes(UINT32_MAX), 0);
}

static void slots_and_records_tile_a_slab(void **state)
{
	(void)state;
	for (unsigned c = 1; c < SIZE_CLASSES; c++)
		for (uint64_t bytes = SLAB_PAGE_BYTES; bytes <= SLAB_BYTES_MAX;
			bytes += SLAB_PAGE_BYTES) {
			const uint32_t slots = slab_slots(c, bytes);
			const uint64_t one = size_class_bytes(c) + OBJECT_RECORD_BYTES;

			assert_true(slots * one <= bytes && bytes < (slots + 1) * one);
			assert_int_equal(slab_records_offset(c, slots) % 8, 0);
			assert_true(slab_records_offset(c, slots) + slots * 8 <= bytes);
		}
	assert_int_equal(slab_slots(1, 0), 0);
	assert_int_equal(slab_slots(1, 4095), 0);
	assert_int_equal(slab_slots(1, SLAB_BYTES_MAX + 4096), 0);
	assert_int_equal(slab_slots(0, 4096), 0);
	assert_int_equal(slab_slots(SIZE_CLASSES, 4096), 0);
	assert_int_equal(slab_slots(SIZE_CLASSES - 1, 4096), 0);
}

static void records_keep_their_fields(void **state)
{
	const struct object_record all[] = {
		{ OBJECT_LIVE, 0, 0, 0, 0 },
		{ OBJECT_FREED, OBJECT_GENERATION_MAX, 0, OBJECT_SITE_MAX, 0 },
		{ OBJECT_LIVE, 0, OBJECT_SLACK_MAX, 0, OBJECT_BIRTH_MAX },
		{ OBJECT_LIVE, 1, 2, 3, 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const uint64_t word = object_record_pack(&all[i]);
		const struct object_record r = object_record_unpack(word);

		assert_int_equal(r.state, all[i].state);
		assert_int_equal(r.generation, all[i].generation);
		assert_int_equal(r.slack, all[i].slack);
		assert_int_equal(r.site, all[i].site);
		assert_int_equal(r.birth_s, all[i].birth_s);
		assert_int_equal(object_record_state(word), all[i].state);
		assert_int_equal(object_record_with_state(word, OBJECT_LIVE) ^ word,
			all[i].state ^ OBJECT_LIVE);
	}
}

static void forged_records_are_known(void **state)
{
	(void)state;
	assert_true(object_record_fits(0, 64));
	assert_false(
		object_record_fits(1ULL << OBJECT_SITE_SHIFT, 64)); /* unused, and yet something */
	assert_true(object_record_fits(OBJECT_TAKEN | 63ULL << OBJECT_SLACK_SHIFT, 64));
	assert_false(object_record_fits(OBJECT_TAKEN | 64ULL << OBJECT_SLACK_SHIFT, 64));
	assert_true(object_record_fits(OBJECT_LIVE | 63ULL << OBJECT_SLACK_SHIFT, 64));
	assert_false(object_record_fits(OBJECT_LIVE | 64ULL << OBJECT_SLACK_SHIFT, 64));
	assert_false(object_record_fits(UINT64_MAX, OBJECT_BYTES_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_size_gets_the_smallest_class),
		cmocka_unit_test(waste_is_at_most_an_eighth),
		cmocka_unit_test(slots_are_aligned),
		cmocka_unit_test(no_class),
		cmocka_unit_test(slots_and_records_tile_a_slab),
		cmocka_unit_test(records_keep_their_fields),
		cmocka_unit_test(forged_records_are_known),
	};

	return cmocka_run_group_tests_name("size_class", tests, NULL, NULL);
}
