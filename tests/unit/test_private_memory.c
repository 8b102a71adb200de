/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of the library's own memory: threads add and remove while others look, and heaps are on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/heap.h"
#include "common/private_memory.h"
#include "tests/support/random.h"

#define MANY 1000U
#define THREADS ((size_t)4)
#define PASSES 100000U
#define PAGE ((size_t)4096)

/* Nothing of this exists. */
static void *place(unsigned thread, unsigned i)
{
	return (void *)(((uintptr_t)thread * MANY + i + 1) * 16 * PAGE);
}

static bool listed(const void *at, size_t bytes)
{
	static struct private_range ranges[THREADS * MANY + 100];
	const size_t n = private_memory_list(ranges, sizeof(ranges) / sizeof(*ranges));

	assert_true(n <= sizeof(ranges) / sizeof(*ranges));
	for (size_t i = 0; i < n; i++)
		if (ranges[i].start <= (uintptr_t)at && (uintptr_t)at + bytes <= ranges[i].end)
			return true;
	return false;
}

static void test_list(void **state)
{
	struct private_entry *entries[MANY];
	const size_t before = private_memory_list(NULL, 0);
	struct private_range few[3];
	uint64_t version;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		version = private_memory_version();
		entries[i] = private_memory_add(place(0, i), (i + 1) * (size_t)8);
		assert_non_null(entries[i]);
		assert_true(private_memory_version() != version);
	}
	assert_int_equal(private_memory_list(few, 3), before + MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(listed(place(0, i), (i + 1) * (size_t)8));
	version = private_memory_version();
	private_memory_remove(entries[500]);
	assert_true(private_memory_version() != version);
	assert_false(listed(place(0, 500), 8));
	entries[500] = private_memory_add(place(1, 0), 8); /* in its place */
	assert_true(listed(place(1, 0), 8));
	for (unsigned i = 0; i < MANY; i++)
		private_memory_remove(entries[i]);
	private_memory_remove(NULL);
	assert_int_equal(private_memory_list(NULL, 0), before);
}

static atomic_bool stop;

static void *churn(void *arg)
{
	const unsigned thread = *(const unsigned *)arg;
	uint64_t seed = thread;

	while (!atomic_load(&stop)) {
		struct private_entry *few[3];

		for (unsigned i = 0; i < 3; i++) {
			const unsigned number = (unsigned)random_below(&seed, MANY);

			few[i] = private_memory_add(place(thread, number), PAGE * (1 + number % 7));
			if (!few[i])
				abort();
		}
		for (unsigned i = 0; i < 3; i++)
			private_memory_remove(few[i]);
	}
	return NULL;
}

/* What is listed was one of those that were added, whole. */
static void *look(void *arg)
{
	static struct private_range ranges[THREADS * MANY + 100];

	(void)arg;
	for (unsigned pass = 0; pass < PASSES; pass++) {
		const size_t n = private_memory_list(ranges, sizeof(ranges) / sizeof(*ranges));

		for (size_t i = 0; i < n; i++) {
			const uint64_t number = ranges[i].start / (16 * PAGE) - 1;

			if (number < THREADS * MANY && ranges[i].start % (16 * PAGE) == 0 &&
				ranges[i].end - ranges[i].start != PAGE * (1 + number % MANY % 7))
				abort();
		}
	}
	atomic_store(&stop, true);
	return NULL;
}

static void test_threads(void **state)
{
	const size_t before = private_memory_list(NULL, 0);
	pthread_t threads[THREADS], looker;
	unsigned numbers[THREADS];

	(void)state;
	assert_int_equal(pthread_create(&looker, NULL, look, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, churn, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_join(looker, NULL);
	assert_int_equal(private_memory_list(NULL, 0), before);
}

static void test_heap(void **state)
{
	const size_t before = private_memory_list(NULL, 0);
	struct heap *h = heap_create();
	void *small, *large, *many = NULL;

	(void)state;
	assert_non_null(h);
	small = heap_alloc(h, 100);
	large = heap_alloc(h, 10 * HEAP_MAPPED_MIN);
	assert_true(listed(small, 100));
	assert_true(listed(large, 10 * HEAP_MAPPED_MIN));
	heap_free(h, large, 10 * HEAP_MAPPED_MIN);
	assert_false(listed(large, 10 * HEAP_MAPPED_MIN));
	for (unsigned i = 0; i < 100; i++) {
		many = heap_alloc(h, HEAP_MAPPED_MIN / 2);
		assert_true(listed(many, HEAP_MAPPED_MIN / 2));
	}
	heap_destroy(h);
	assert_int_equal(private_memory_list(NULL, 0), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), /* while the list is short, and so is a pass */
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_heap),
	};

	return cmocka_run_group_tests_name("private_memory", tests, NULL, NULL);
}
