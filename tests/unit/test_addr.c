/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remote addresses and pointers whose highest bits the processor ignores: top byte ignore (arm64), upper
 * address ignore (AMD), linear address masking (Intel). A tag that HWASan draws can be that of remote
 * addresses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "client/control/blocks.h"
#include "common/addr.h"
#include "tests/support/heap.h"

#define MIB (1ULL << 20)
#define NODES 8

/* Where programs are on arm64 (39, 48 and 52 bits of address) and x86-64 (47 and 56). */
static const uint64_t pointers[] = {
	0x0000aaaac0de0010, /* arm64: a program, its heap */
	0x0000ffff8badf00d, /* arm64: libraries, mmap(), stacks */
	0x000fffffdeadbee0, /* arm64, 52 bits */
	0x0000007fb7dd1000, /* arm64, 39 bits */
	0x0000555555554040, /* x86-64: a program, its heap */
	0x00007ffff7dd1000, /* x86-64: libraries, mmap(), stacks */
	0x00fffffffffff000, /* x86-64, 57 bits: AMD's tags begin above */
};
#define POINTERS (sizeof(pointers) / sizeof(pointers[0]))

static uint64_t tagged(uint64_t pointer, uint64_t tag)
{
	return (pointer & ((1ULL << 56) - 1)) | tag << 56;
}

/* One tag of 256, as HWASan has them on arm64; Intel's leave bit 63 as it was: clear. */
static void test_which_tags_collide(void **state)
{
	(void)state;
	for (unsigned i = 0; i < POINTERS; i++) {
		assert_false(addr_is_remote(pointers[i]));
		for (uint64_t tag = 0; tag < 256; tag++)
			assert_int_equal(addr_is_remote(tagged(pointers[i], tag)), tag == 0x9e);
		for (uint64_t tag = 0; tag < 64; tag++) /* LAM_U57: bits 57 to 62 */
			assert_false(addr_is_remote(pointers[i] | tag << 57));
	}
	for (uint64_t tag = 0; tag < 1U << 15; tag++) /* LAM_U48: bits 48 to 62 */
		assert_false(addr_is_remote(0x00007ffff7dd1000 | tag << 48));
}

static int add(struct blocks *t, unsigned node, uint64_t offset, uint64_t bytes)
{
	return blocks_add(t, &(struct block){ .addr = addr_make(node, offset), .bytes = bytes });
}

/* An address is remote because a block covers it; the tag alone is not enough. */
static void test_pointers_that_look_remote(void **state)
{
	struct blocks blocks;
	struct block_view view;

	(void)state;
	assert_int_equal(blocks_init(&blocks, heap, NULL), 0);
	for (unsigned node = 0; node < NODES; node++)
		assert_int_equal(add(&blocks, node, 0, 64 * MIB), 0);
	for (unsigned i = 0; i < POINTERS; i++) {
		const uint64_t looks_remote = tagged(pointers[i], ADDR_TAG);

		assert_null(blocks_find_range(&blocks, looks_remote, 1));
		assert_null(blocks_overlap(&blocks, looks_remote, 4096));
		assert_false(blocks_view(&blocks, looks_remote, &view));
	}
	/* Nor is it remote with any other tag, inside a block or not. */
	for (uint64_t tag = 0; tag < 256; tag++) {
		const uint64_t addr = tagged(addr_make(3, MIB), tag);

		assert_int_equal(blocks_view(&blocks, addr, &view), tag == ADDR_TAG);
		assert_int_equal(blocks_find_range(&blocks, addr, 1) != NULL, tag == ADDR_TAG);
	}
}

/*
 * No check can tell a tagged pointer into a program at a fixed, low address from a block at the same
 * offset: the header says that the program must not mix them.
 */
static void test_what_is_ambiguous(void **state)
{
	const uint64_t pointer = tagged(0x400010, ADDR_TAG);
	struct blocks blocks;
	struct block_view view;

	(void)state;
	assert_int_equal(blocks_init(&blocks, heap, NULL), 0);
	assert_false(blocks_view(&blocks, pointer, &view));
	assert_int_equal(add(&blocks, 0, 0x400000, 4096), 0);
	assert_true(blocks_view(&blocks, pointer, &view));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_tags_collide),
		cmocka_unit_test(test_pointers_that_look_remote),
		cmocka_unit_test(test_what_is_ambiguous),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
