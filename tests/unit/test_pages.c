/* SPDX-License-Identifier: BSD-3-Clause */
/* Which pages have something: the same by every means, for memory of every kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/scan/pages.h"
#include "tests/support/random.h"

#define PAGE ((size_t)4096)
#define MANY 3000

static struct pages pages;
static struct pages_answer answer;

static bool can(enum pages_by by)
{
	assert_int_equal(pages_open(&pages), 0);
	if (by < pages.by) {
		pages_close(&pages);
		return false;
	}
	pages.by = by;
	return true;
}

/* Of all answers together; marks the pages that are listed, if there is a map. */
struct sum {
	uint64_t listed, swapped, absent, gone;
	unsigned answers;
};

static struct sum list(const struct mapping *m, bool *map)
{
	struct sum sum = { 0 };
	uint64_t reached = m->start;

	for (uint64_t at = m->start; at < m->end; at = answer.next) {
		assert_int_equal(pages_list(&pages, m, at, &answer), 0);
		assert_true(answer.next > at && answer.next <= m->end);
		assert_true(answer.nruns <= PAGES_RUNS);
		for (unsigned i = 0; i < answer.nruns; i++) {
			const struct pages_run *r = &answer.runs[i];

			assert_true(
				r->start >= reached && r->start < r->end && r->end <= answer.next);
			reached = r->end;
			sum.listed += r->end - r->start;
			for (uint64_t p = r->start; map && p < r->end; p += PAGE)
				map[(p - m->start) / PAGE] = true;
		}
		sum.swapped += answer.bytes_swapped;
		sum.absent += answer.bytes_absent;
		sum.gone += answer.bytes_gone;
		sum.answers++;
	}
	return sum;
}

static struct mapping mapping_of(const void *p, size_t bytes, bool writable, bool shared)
{
	return (struct mapping){ .start = (uintptr_t)p,
		.end = (uintptr_t)p + bytes,
		.readable = true,
		.writable = writable,
		.shared = shared };
}

static uint8_t *map(size_t bytes, int flags, int fd)
{
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_true(p != MAP_FAILED);
	(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

/* Pages at random; of some, only the zero page is there. */
static void check_private(enum pages_by by)
{
	uint8_t *p = map(MANY * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	const struct mapping m = mapping_of(p, MANY * PAGE, true, false);
	static bool touched[MANY], listed[MANY];
	uint64_t seed = 7;

	memset(touched, 0, sizeof(touched));
	memset(listed, 0, sizeof(listed));
	for (unsigned i = 0; i < MANY; i++) {
		touched[i] = random_below(&seed, i < MANY / 2 ? 2 : 20) == 0;
		if (touched[i])
			p[i * PAGE] = 1;
	}
	list(&m, listed);
	assert_memory_equal(touched, listed, sizeof(listed));
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(((volatile uint8_t *)p)[i * PAGE], touched[i]);
	if (by == PAGES_BY_SCAN) {
		memset(listed, 0, sizeof(listed));
		list(&m, listed);
		assert_memory_equal(touched, listed, sizeof(listed));
	}
	munmap(p, MANY * PAGE);
}

/* Pages that another mapping, or a write(), has filled count as well. */
static void check_shared(void)
{
	const int fd = memfd_create("pages", MFD_CLOEXEC);
	static bool listed[100];
	struct mapping m;
	struct sum sum;
	uint8_t *p;

	assert_int_equal(ftruncate(fd, 100 * PAGE), 0);
	p = map(100 * PAGE, MAP_SHARED, fd);
	m = mapping_of(p, 100 * PAGE, true, true);
	p[3 * PAGE] = 1;
	assert_int_equal(pwrite(fd, "x", 1, 50 * PAGE), 1);
	memset(listed, 0, sizeof(listed));
	sum = list(&m, listed);
	assert_true(listed[3] && listed[50]);
	assert_int_equal(sum.listed, 2 * PAGE);
	assert_int_equal(sum.absent, 98 * PAGE);
	assert_int_equal(sum.swapped, 0);
	munmap(p, 100 * PAGE);
	close(fd);
}

/* Of a file's private pages that cannot be written, only those that were. */
static void check_read_only(enum pages_by by)
{
	char name[] = "/tmp/rmem-test-XXXXXX";
	const int fd = mkstemp(name);
	static bool listed[10];
	struct mapping m;
	uint8_t *p;

	assert_true(fd >= 0);
	unlink(name);
	for (int i = 0; i < 10; i++)
		assert_int_equal(pwrite(fd, "x", 1, (off_t)(i * PAGE)), 1);
	assert_int_equal(ftruncate(fd, 10 * PAGE), 0);
	p = map(10 * PAGE, MAP_PRIVATE, fd);
	for (int i = 0; i < 10; i++)
		assert_int_equal(((volatile uint8_t *)p)[i * PAGE], 'x');
	p[4 * PAGE] = 'y';
	m = mapping_of(p, 10 * PAGE, true, false);
	assert_int_equal(list(&m, NULL).listed, 10 * PAGE);
	m.writable = false;
	memset(listed, 0, sizeof(listed));
	assert_int_equal(list(&m, listed).listed, by == PAGES_BY_MINCORE ? 10 * PAGE : PAGE);
	assert_true(listed[4]);
	munmap(p, 10 * PAGE);
	close(fd);
}

/* Some of it, or all, is not there any more. */
static void check_gone(void)
{
	uint8_t *p = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct mapping m = mapping_of(p, 64 * PAGE, true, false);

	memset(p, 1, 64 * PAGE);
	munmap(p + 10 * PAGE, 20 * PAGE);
	assert_int_equal(list(&m, NULL).listed, 44 * PAGE);
	m.shared = true;
	assert_int_equal(list(&m, NULL).listed, 44 * PAGE);
	munmap(p, 64 * PAGE);
	m.shared = false;
	assert_int_equal(list(&m, NULL).listed, 0);
}

/* A long mapping is gone but for its beginning: not each page is asked for, and what is passed over is counted. */
static void check_long_gone(enum pages_by by)
{
	const size_t bytes = (size_t)1 << 30;
	uint8_t *p = map(bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	const struct mapping m = mapping_of(p, bytes, true, false);
	struct sum sum;

	p[0] = p[PAGE] = 1;
	munmap(p + 2 * PAGE, bytes - 2 * PAGE);
	sum = list(&m, NULL);
	assert_int_equal(sum.listed, 2 * PAGE);
	assert_int_equal(sum.gone, by == PAGES_BY_MINCORE ? bytes - 2 * PAGE : 0);
	assert_in_range(sum.answers, 1, 1000);
	munmap(p, 2 * PAGE);
}

/* More than one answer has room for. */
static void check_large(void)
{
	const size_t bytes = 2 * PAGES_WINDOW + PAGE;
	uint8_t *p = map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	const struct mapping m = mapping_of(p, bytes, true, false);

	memset(p, 1, bytes);
	assert_int_equal(pages_list(&pages, &m, m.start, &answer), 0);
	assert_true(answer.next - m.start <= PAGES_WINDOW);
	assert_int_equal(list(&m, NULL).listed, bytes);
	munmap(p, bytes);
}

static void check(enum pages_by by)
{
	if (!can(by))
		skip();
	check_private(by);
	check_shared();
	check_read_only(by);
	check_gone();
	check_long_gone(by);
	check_large();
	pages_close(&pages);
}

static void test_scan(void **state)
{
	(void)state;
	check(PAGES_BY_SCAN);
}

static void test_pagemap(void **state)
{
	(void)state;
	check(PAGES_BY_PAGEMAP);
}

static void test_mincore(void **state)
{
	(void)state;
	check(PAGES_BY_MINCORE);
}

static void test_no_descriptor(void **state)
{
	struct rlimit old, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(pages_open(&pages), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	pages_close(&pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_pagemap),
		cmocka_unit_test(test_mincore),
		cmocka_unit_test(test_no_descriptor),
	};

	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
