/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of registered local buffers: against a map of single bytes, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/control/buffers.h"
#include "tests/support/heap.h"
#include "tests/support/random.h"
#include "tests/support/rounds.h"

#define BASE ((uintptr_t)0x700000000000)

static int add(struct buffers *t, uintptr_t start, size_t bytes)
{
	const struct buffer b = { .start = start, .bytes = bytes };
	struct errinfo errinfo;
	int rc;

	assert_int_equal(buffers_reserve(t, t->count + 1), 0);
	rc = buffers_check(t, &b, &errinfo);
	if (rc == 0)
		buffers_add(t, &b);
	return rc;
}

static void test_overlap(void **state)
{
	struct buffers t = { .heap = heap };

	(void)state;
	assert_int_equal(add(&t, BASE + 100, 50), 0);
	assert_int_equal(add(&t, BASE + 100, 50), -EINVAL); /* the same */
	assert_int_equal(add(&t, BASE + 110, 10), -EINVAL); /* inside */
	assert_int_equal(add(&t, BASE + 90, 100), -EINVAL); /* around */
	assert_int_equal(add(&t, BASE + 90, 11), -EINVAL);  /* its first byte */
	assert_int_equal(add(&t, BASE + 149, 10), -EINVAL); /* its last byte */
	assert_int_equal(add(&t, BASE + 90, 10), 0);        /* neighbours */
	assert_int_equal(add(&t, BASE + 150, 1), 0);
	assert_int_equal(t.count, 3);
	buffers_destroy(&t);
}

static void test_limits(void **state)
{
	struct buffers t = { .heap = heap };

	(void)state;
	assert_null(buffers_find(&t, BASE));
	assert_null(buffers_find_range(&t, BASE, 1));
	assert_int_equal(add(&t, BASE, 0), -EINVAL);
	assert_int_equal(add(&t, UINTPTR_MAX - 9, 11), -EINVAL); /* wraps around */
	assert_int_equal(add(&t, BASE, SIZE_MAX), -EINVAL);
	assert_int_equal(add(&t, UINTPTR_MAX - 10, 10), 0);
	assert_non_null(buffers_find_range(&t, UINTPTR_MAX - 10, 10));
	assert_null(buffers_find_range(&t, UINTPTR_MAX - 10, SIZE_MAX));
	buffers_destroy(&t);
	assert_int_equal(t.count, 0);
}

static void test_find(void **state)
{
	struct buffers t = { .heap = heap };

	(void)state;
	assert_int_equal(add(&t, BASE + 10, 5), 0);
	assert_int_equal(add(&t, BASE + 15, 5), 0);
	assert_int_equal(add(&t, BASE, 5), 0);
	assert_true(buffers_find(&t, BASE + 10)->bytes == 5);
	assert_null(buffers_find(&t, BASE + 11));
	assert_true(buffers_find_range(&t, BASE + 14, 1)->start == BASE + 10);
	assert_null(buffers_find_range(&t, BASE + 14, 2)); /* across two */
	assert_null(buffers_find_range(&t, BASE + 5, 1));  /* between two */
	assert_null(buffers_find_range(&t, BASE + 20, 1));
	buffers_remove(&t, buffers_find(&t, BASE + 10));
	assert_null(buffers_find(&t, BASE + 10));
	assert_non_null(buffers_find(&t, BASE + 15));
	assert_non_null(buffers_find(&t, BASE));
	buffers_destroy(&t);
}

static void test_map(void **state)
{
	struct buffer b = { .bytes = 5000 };
	struct buffers t = { .heap = heap };
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(buffer_map(&b, &errinfo), 0);
	assert_int_equal(b.start % 4096, 0);
	for (size_t i = 0; i < b.bytes; i++)
		assert_int_equal(((char *)b.start)[i], 0);
	assert_int_equal(buffers_reserve(&t, t.count + 1), 0);
	buffers_add(&t, &b);
	buffers_destroy(&t); /* unmaps it: the sanitizer would say */
	b = (struct buffer){ .bytes = SIZE_MAX - 5 };
	assert_int_equal(buffer_map(&b, &errinfo), -ENOMEM);
	assert_int_equal(b.mapped_bytes, 0);
	b = (struct buffer){ .bytes = 1UL << 60 };
	assert_int_equal(buffer_map(&b, &errinfo), -ENOMEM);
	buffer_unmap(&b);
}

/* ---- against a map of bytes: which buffer, by its first byte + 1, is each in? ---- */

#define SPAN 512U

static bool is_free(const uint16_t *model, unsigned start, unsigned bytes)
{
	for (unsigned i = start; i < start + bytes; i++) {
		if (model[i])
			return false;
	}
	return true;
}

static void compare(const struct buffers *t, const uint16_t *model)
{
	for (unsigned i = 0; i < SPAN; i++) {
		const struct buffer *b = buffers_find_range(t, BASE + i, 1);

		assert_int_equal(b ? b->start - BASE + 1 : 0, model[i]);
		assert_int_equal(buffers_find(t, BASE + i) != NULL, model[i] == i + 1);
	}
	for (size_t i = 1; i < t->count; i++)
		assert_true(t->items[i - 1].start + t->items[i - 1].bytes <= t->items[i].start);
}

static void test_against_model(void **state)
{
	uint16_t model[SPAN] = { 0 };
	struct buffers t = { .heap = heap };
	uint64_t seed = 11;

	(void)state;
	for (unsigned round = 0; round < rounds(2000); round++) {
		unsigned start = (unsigned)random_below(&seed, SPAN);
		unsigned bytes = 1 + (unsigned)random_below(&seed, 24);

		if (bytes > SPAN - start)
			bytes = SPAN - start;
		if (random_below(&seed, 3)) {
			bool fits = is_free(model, start, bytes);

			assert_int_equal(add(&t, BASE + start, bytes), fits ? 0 : -EINVAL);
			for (unsigned i = start; fits && i < start + bytes; i++)
				model[i] = (uint16_t)(start + 1);
		} else if (model[start]) {
			struct buffer *b = buffers_find_range(&t, BASE + start, 1);

			assert_non_null(b);
			memset(&model[b->start - BASE], 0, b->bytes * sizeof(model[0]));
			buffers_remove(&t, b);
		}
		compare(&t, model);
	}
	buffers_destroy(&t);
}

/* ---- children ---- */

#define FORKS 100
#define LIMIT_S 10

static atomic_bool over;

/* Large pieces are unmapped with the heap's lock: it is locked most of the time. */
static void *use_heap(void *unused)
{
	(void)unused;
	while (!atomic_load(&over))
		heap_free(heap, heap_alloc(heap, 1 << 20), 1 << 20);
	return NULL;
}

static void test_child_of_a_busy_parent(void **state)
{
	struct buffers t = { .heap = heap };
	pthread_t thread;
	int status = 0;

	(void)state;
	assert_int_equal(add(&t, BASE, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, use_heap, NULL), 0);
	for (int i = 0; i < FORKS && status == 0; i++) {
		pid_t child = fork();

		if (child == 0) {
			alarm(LIMIT_S);
			buffers_destroy(&t);
			_exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			status = -1;
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	assert_int_equal(status, 0);
	buffers_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_child_of_a_busy_parent),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
