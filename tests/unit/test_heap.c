/* SPDX-License-Identifier: BSD-3-Clause */
/* The private heap: pieces of all sizes come and go, never overlap, are zeroed, and lie in mappings named "rmem". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/heap.h"
#include "tests/support/random.h"

#define PIECES 300
#define STEPS 60000

struct piece {
	uint8_t *at;
	size_t bytes;
	uint8_t sign;
};

static bool holds(const struct piece *p, size_t bytes, uint8_t sign)
{
	for (size_t i = 0; i < bytes; i++)
		if (p->at[i] != sign)
			return false;
	return true;
}

static size_t some_size(uint64_t *seed)
{
	switch (random_below(seed, 40)) {
	case 0:
		return HEAP_MAPPED_MIN - 1 + random_below(seed, 3);
	case 1:
		return random_below(seed, 200000);
	default:
		return random_below(seed, random_below(seed, 2) ? 300 : 9000);
	}
}

static void make(struct piece *p, uint64_t *seed)
{
	p->bytes = some_size(seed);
	p->at = heap_alloc(heap, p->bytes);
	assert_non_null(p->at);
	assert_int_equal((uintptr_t)p->at % 64, 0);
	assert_true(p->bytes < HEAP_MAPPED_MIN || (uintptr_t)p->at % 4096 == 0);
	assert_true(holds(p, p->bytes, 0));
	p->sign = (uint8_t)(1 + random_below(seed, 255));
	memset(p->at, p->sign, p->bytes);
}

static void grow(struct piece *p, uint64_t *seed)
{
	const size_t bytes = p->bytes + some_size(seed);
	uint8_t *at = heap_grow(heap, p->at, p->bytes, bytes);

	assert_non_null(at);
	p->at = at;
	assert_true(holds(p, p->bytes, p->sign));
	for (size_t i = p->bytes; i < bytes; i++)
		assert_int_equal(at[i], 0);
	p->bytes = bytes;
	memset(at, p->sign, bytes);
}

static void test_pieces(void **state)
{
	static struct piece pieces[PIECES];
	uint64_t seed = 4;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		struct piece *p = &pieces[random_below(&seed, PIECES)];

		if (!p->at) {
			make(p, &seed);
		} else if (random_below(&seed, 8) == 0 && p->bytes < 100000) {
			grow(p, &seed);
		} else {
			assert_true(holds(p, p->bytes, p->sign));
			heap_free(heap, p->at, p->bytes);
			p->at = NULL;
		}
	}
	for (int i = 0; i < PIECES; i++)
		assert_true(!pieces[i].at || holds(&pieces[i], pieces[i].bytes, pieces[i].sign));
	heap_free(heap, NULL, 10);
	assert_null(heap_alloc(heap, SIZE_MAX));
	assert_null(heap_alloc(heap, SIZE_MAX / 2));
}

/* The line of /proc/self/smaps that begins the mapping of p, and its flags. */
static bool find_mapping(const void *p, char line[512], char flags[512])
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool inside = false;
	char text[512];

	assert_non_null(f);
	while (fgets(text, sizeof(text), f)) {
		if (sscanf(text, "%lx-%lx ", &start, &end) == 2) {
			inside = (uintptr_t)p >= start && (uintptr_t)p < end;
			if (inside)
				memcpy(line, text, sizeof(text));
		} else if (inside && strncmp(text, "VmFlags:", 8) == 0) {
			memcpy(flags, text, sizeof(text));
			fclose(f);
			return true;
		}
	}
	fclose(f);
	return false;
}

/* dd: not in a core dump. The name is only there where the kernel has names for such mappings. */
static void test_mappings(void **state)
{
	void *small = heap_alloc(heap, 100), *big = heap_alloc(heap, HEAP_MAPPED_MIN);
	char line[512], flags[512];

	(void)state;
	assert_true(find_mapping(small, line, flags));
	assert_non_null(strstr(flags, " dd"));
	assert_true(!strstr(line, "[anon") || strstr(line, "[anon:rmem]"));
	assert_true(find_mapping(big, line, flags));
	assert_non_null(strstr(flags, " dd"));
	heap_free(heap, big, HEAP_MAPPED_MIN);
	heap_free(heap, small, 100);
	heap_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_mappings),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
