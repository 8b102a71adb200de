/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that scans itself. Each test has blocks of its own, whose addresses are computed where they are needed, so
 * that none lies around.
 */
#ifndef RMEM_TESTS_SUPPORT_SCANS_H
#define RMEM_TESTS_SUPPORT_SCANS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/scan/scan.h"
#include "common/addr.h"
#include "common/heap.h"

#define BLOCKS 40
#define BLOCK_BYTES 4000U
#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

static struct heap *heap;
static struct target *blocks; /* on the heap */
static struct scan *scan;
static struct scan_request request;
static unsigned group; /* of blocks: of this test */

/* Not a constant that a compiler would keep ready. */
static volatile uint64_t base = 77ULL << 20;

static uint64_t address(unsigned i)
{
	return addr_make(5 + group, base + (uint64_t)i * 2 * BLOCK_BYTES);
}

/* Store the address, and leave no copy behind in a live frame. */
static __attribute__((noinline)) void plant(volatile void *at, unsigned i, uint64_t offset)
{
	*(volatile uint64_t *)at = address(i) + offset;
}

static void *map(size_t bytes, int prot, int flags, int fd)
{
	void *p = mmap(NULL, bytes, prot, flags, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void *map_private(size_t bytes)
{
	return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static int begin(void **state)
{
	(void)state;
	group++;
	heap = heap_create();
	blocks = heap ? heap_alloc(heap, BLOCKS * sizeof(*blocks)) : NULL;
	if (!blocks)
		return -1;
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = (struct target){ address(i), BLOCK_BYTES };
	request = (struct scan_request){ .blocks = blocks, .nblocks = BLOCKS, .cancel_fd = -1 };
	return 0;
}

static int end(void **state)
{
	(void)state;
	scan_destroy(scan);
	scan = NULL;
	heap_destroy(heap);
	return 0;
}

static __attribute__((noinline)) void run(void)
{
	struct errinfo errinfo = { "" };

	scan_destroy(scan);
	scan = NULL;
	assert_int_equal(scan_create(&scan, &request, &errinfo), 0);
	assert_int_equal(scan_run(scan, &errinfo), 0);
	assert_string_equal(errinfo.text, "");
}

static bool met(unsigned i)
{
	return targets_start_met(scan_targets(scan), i);
}

static inline bool met_inside(unsigned i)
{
	return targets_interior_met(scan_targets(scan), i);
}

/* valgrind has copies of what the program has written, and runs it on a stack of its own making. */
static bool under_valgrind(void)
{
	return getenv("RMEM_TEST_VALGRIND") != NULL;
}

#define SCAN_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
