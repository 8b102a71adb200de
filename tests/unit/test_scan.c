/* SPDX-License-Identifier: BSD-3-Clause */
/* Every place in which a reference may be, and every place in which it does not count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/scan/scan.h"
#include "common/private_memory.h"
#include "common/thread.h"
#include "tests/support/scans.h"

#define TIB ((size_t)1 << 40)

/* --- places --- */

static volatile uint64_t in_data = 1, in_bss;
static _Thread_local volatile uint64_t in_tls;

struct holder {
	pthread_t thread;
	sem_t ready, leave;
	unsigned block;
};

/* A thread with an address on its stack and one in its own storage. */
static void *holder_main(void *arg)
{
	struct holder *h = arg;
	volatile uint64_t on_stack;

	plant(&on_stack, h->block, 0);
	plant(&in_tls, h->block + 1, 0);
	sem_post(&h->ready);
	while (sem_wait(&h->leave))
		;
	on_stack = in_tls = 0;
	return NULL;
}

static void holder_start(struct holder *h, unsigned block)
{
	h->block = block;
	sem_init(&h->ready, 0, 0);
	sem_init(&h->leave, 0, 0);
	assert_int_equal(pthread_create(&h->thread, NULL, holder_main, h), 0);
	while (sem_wait(&h->ready))
		;
}

static void holder_end(struct holder *h)
{
	sem_post(&h->leave);
	pthread_join(h->thread, NULL);
}

static void test_places(void **state)
{
	uint64_t *on_heap = malloc(10000 * sizeof(*on_heap)), *mapped = map_private(10 * PAGE);
	const int fd = memfd_create("places", MFD_CLOEXEC);
	volatile uint64_t on_stack;
	struct holder other;
	uint64_t *shared, *read_only = map_private(PAGE), *last = map_private(3 * PAGE);

	(void)state;
	assert_int_equal(ftruncate(fd, 10 * PAGE), 0);
	shared = map(10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	plant(&in_data, 0, 0);
	plant(&in_bss, 1, 0);
	plant(&in_tls, 2, 0);
	plant(&on_stack, 3, 0);
	plant(&on_heap[9999], 4, 0);
	plant(&mapped[9 * PAGE / 8], 5, 0);
	plant(&shared[9 * PAGE / 8], 6, 0);
	plant(read_only, 7, 0);
	assert_int_equal(mprotect(read_only, PAGE, PROT_READ), 0);
	holder_start(&other, 8);
	plant(last, 10, 8); /* by an interior address only */
	plant(last + 3 * PAGE / 8 - 1, 11, BLOCK_BYTES - 1);
	plant(last + 1, 12, 0); /* by both */
	plant(last + 2, 12, 1);
	run();
	holder_end(&other);
	for (unsigned i = 0; i < 10; i++)
		assert_true(met(i));
	for (unsigned i = 0; i < 10 && !under_valgrind(); i++)
		assert_false(met_inside(i));
	assert_true(met_inside(10) && met_inside(11) && met_inside(12) && met(12));
	if (!under_valgrind())
		assert_true(!met(10) && !met(11));
	assert_true(scan_counts(scan)->bytes_read > 80000);
	assert_true(scan_counts(scan)->words >= 14);
	in_data = in_bss = in_tls = on_stack = 0;
	munmap(shared, 10 * PAGE);
	munmap(read_only, PAGE);
	munmap(last, 3 * PAGE);
	munmap(mapped, 10 * PAGE);
	close(fd);
	free(on_heap);
}

/* --- no places --- */

static __attribute__((noinline)) void plant_unaligned(uint8_t *at, unsigned i)
{
	const uint64_t value = address(i);

	memcpy(at, &value, sizeof(value));
}

static void test_not_met(void **state)
{
	const size_t bytes = 4 * PAGE;
	uint8_t *p = map_private(bytes), *none = map_private(bytes), *gone = map_private(bytes);
	uint64_t *private = heap_alloc(heap, 1000), *large = heap_alloc(heap, 4 * HEAP_MAPPED_MIN);

	(void)state;
	assert_non_null(private);
	assert_non_null(large);
	plant(private, 0, 0);
	plant(&large[4 * HEAP_MAPPED_MIN / 8 - 1], 1, 0);
	plant_unaligned(p + 4, 2);
	plant(p + 64, 3, BLOCK_BYTES); /* one past the end */
	plant(p + 72, 4, (uint64_t)0 - 1);
	plant(none + PAGE, 5, 0);
	assert_int_equal(mprotect(none, bytes, PROT_NONE), 0);
	plant(gone, 6, 0);
	munmap(gone, bytes);
	run();
	for (unsigned i = 0; i < BLOCKS && !under_valgrind(); i++)
		assert_true(!met(i) && !met_inside(i));
	assert_true(
		scan_counts(scan)->bytes_private > 4 * PAGE); /* at least what is there of these */
	assert_true(scan_counts(scan)->bytes_refused >= PAGE);
	/* Where it can be read again, it counts again. */
	assert_int_equal(mprotect(none, bytes, PROT_READ), 0);
	run();
	assert_true(met(5));
	munmap(p, bytes);
	munmap(none, bytes);
}

/* A thread of the library's, whose stack is hidden until it says otherwise. */
static void *own_thread_main(void *arg)
{
	struct private_entry *const stack = thread_hide_stack();
	struct holder *h = arg;
	volatile uint64_t on_stack;

	plant(&on_stack, h->block, 0);
	sem_post(&h->ready);
	while (sem_wait(&h->leave))
		;
	thread_show_stack(stack);
	sem_post(&h->ready);
	while (sem_wait(&h->leave))
		;
	on_stack = 0;
	return stack ? NULL : arg;
}

static void test_own_thread(void **state)
{
	const size_t before = private_memory_list(NULL, 0);
	struct holder h = { .block = 0 };
	void *result;

	(void)state;
	sem_init(&h.ready, 0, 0);
	sem_init(&h.leave, 0, 0);
	assert_int_equal(pthread_create(&h.thread, NULL, own_thread_main, &h), 0);
	while (sem_wait(&h.ready))
		;
	run();
	assert_true(under_valgrind() || !met(0));
	sem_post(&h.leave);
	while (sem_wait(&h.ready))
		;
	run();
	assert_true(met(0));
	sem_post(&h.leave);
	pthread_join(h.thread, &result);
	assert_null(result);
	scan_destroy(scan);
	scan = NULL;
	assert_int_equal(private_memory_list(NULL, 0), before);
}

/* --- stacks --- */

#define LITTER ((size_t)32768)

/* Leaves addresses in a frame that is then over, but not where the caller's red zone and next frames will be. */
static __attribute__((noinline)) void litter(unsigned block)
{
	volatile uint64_t frame[LITTER / 8 + 1024];

	for (unsigned i = 0; i < LITTER / 8; i++)
		plant(&frame[i], block, 0);
}

struct sleeper {
	struct scan_stack stack;
	pthread_t thread;
	sem_t ready;
	int pipe[2];
	unsigned dead, live;
};

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	volatile uint64_t alive;
	pthread_attr_t attr;
	void *low;
	size_t size;
	char c;

	if (pthread_getattr_np(pthread_self(), &attr) || pthread_attr_getstack(&attr, &low, &size))
		abort();
	pthread_attr_destroy(&attr);
	s->stack = (struct scan_stack){ gettid(), (uintptr_t)low, (uintptr_t)low + size };
	plant(&alive, s->live, 0);
	litter(s->dead);
	sem_post(&s->ready);
	if (read(s->pipe[0], &c, 1) != 1)
		abort();
	alive = 0;
	return NULL;
}

static bool stack_pointers_can_be_read(void)
{
	return access("/proc/self/syscall", R_OK) == 0;
}

/* Until the thread is in that system call. */
static void await_call(pid_t tid, long number)
{
	char path[64], text[16];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	do {
		memset(text, 0, sizeof(text));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
		close(fd);
	} while (strtol(text, NULL, 10) != number || strncmp(text, "running", 7) == 0);
}

/* Of a thread that waits, what is beyond its stack pointer does not count, if it is known where the stack is. */
static void test_sleeper(void **state)
{
	struct sleeper s = { .dead = 0, .live = 1 };

	(void)state;
	if (!stack_pointers_can_be_read() || under_valgrind())
		skip();
	sem_init(&s.ready, 0, 0);
	assert_int_equal(pipe(s.pipe), 0);
	assert_int_equal(pthread_create(&s.thread, NULL, sleeper_main, &s), 0);
	while (sem_wait(&s.ready))
		;
	await_call(s.stack.tid, SYS_read);
	run();
	assert_true(met(0) && met(1));
	request.stacks = &s.stack;
	request.nstacks = 1;
	run();
	assert_true(!met(0) && met(1));
	assert_true(scan_counts(scan)->bytes_dead >= LITTER - PAGE);
	assert_int_equal(write(s.pipe[1], "x", 1), 1);
	pthread_join(s.thread, NULL);
	close(s.pipe[0]);
	close(s.pipe[1]);
}

/* So it is, without being told, of the thread that scans. */
static __attribute__((noinline)) void run_with_litter(unsigned dead, unsigned live)
{
	volatile uint64_t alive;

	plant(&alive, live, 0);
	litter(dead);
	run();
	alive = 0;
}

static void test_own_stack(void **state)
{
	(void)state;
	run_with_litter(0, 1);
	assert_true(met(1));
	if (under_valgrind())
		skip();
	assert_false(met(0));
	assert_true(scan_counts(scan)->bytes_dead >= LITTER - PAGE);
}

static void *run_in_thread(void *arg)
{
	const unsigned *numbers = arg;

	await_call(getpid(), SYS_futex);
	run_with_litter(numbers[0], numbers[1]);
	return NULL;
}

/* And of the first thread, while another one scans. */
static void test_first_stack(void **state)
{
	const unsigned numbers[] = { 2, 3 };
	volatile uint64_t alive;
	pthread_t thread;

	(void)state;
	if (!stack_pointers_can_be_read() || under_valgrind())
		skip();
	plant(&alive, 1, 0);
	litter(0);
	assert_int_equal(pthread_create(&thread, NULL, run_in_thread, (void *)numbers), 0);
	pthread_join(thread, NULL);
	alive = 0;
	assert_true(met(1) && met(3));
	assert_true(!met(0) && !met(2));
}

/* --- large and sparse --- */

static void test_sparse(void **state)
{
	uint8_t *reserve, *lazy;

	(void)state;
	if (under_valgrind())
		skip(); /* no room for so much */
	reserve = map(TIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	lazy = map(TIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	(void)madvise(lazy, TIB, MADV_NOHUGEPAGE);
	assert_int_equal(mprotect(reserve + TIB / 2, 16 * PAGE, PROT_READ | PROT_WRITE), 0);
	plant(reserve + TIB / 2 + 16 * PAGE - 8, 0, 0);
	plant(lazy, 1, 0);
	plant(lazy + TIB / 3 / 8 * 8, 2, 0);
	plant(lazy + TIB - 8, 3, 0);
	assert_int_equal(((volatile uint8_t *)lazy)[TIB / 4], 0); /* the zero page */
	run();
	for (unsigned i = 0; i < 4; i++)
		assert_true(met(i));
	assert_true(scan_counts(scan)->bytes_read < 4096 * MIB);
	/* Nothing has come into being by being read. */
	{
		unsigned char resident = 1;

		assert_int_equal(mincore(lazy + TIB / 2, PAGE, &resident), 0);
		assert_int_equal(resident & 1, 0);
	}
	munmap(reserve, TIB);
	munmap(lazy, TIB);
}

/* A shared file that is shorter than its mapping: nothing to be read there, and no signal. */
static void test_truncated(void **state)
{
	const int fd = memfd_create("short", MFD_CLOEXEC);
	uint8_t *p;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)(100 * PAGE)), 0);
	p = map(100 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	plant(p, 0, 0);
	plant(p + 60 * PAGE, 1, 0);
	assert_int_equal(ftruncate(fd, (off_t)(50 * PAGE)), 0);
	run();
	assert_true(met(0));
	assert_true(under_valgrind() || !met(1));
	munmap(p, 100 * PAGE);
	close(fd);
}

static void test_again(void **state)
{
	struct target *span = heap_alloc(heap, sizeof(*span));
	static uint64_t strays[TARGETS_STRAYS_MAX];
	volatile uint64_t first, second, stray;
	size_t n;

	(void)state;
	*span = (struct target){ address(BLOCKS), BLOCK_BYTES };
	request.spans = span;
	request.nspans = 1;
	second = 0;
	plant(&first, 0, 0);
	plant(&stray, BLOCKS, 16);
	run();
	first = 0;
	plant(&second, 1, 0);
	assert_int_equal(scan_run(scan, NULL), 0);
	assert_true(met(0) && met(1));
	n = targets_strays(scan_targets(scan), strays);
	assert_int_equal(n, 1);
	assert_int_equal(strays[0], stray);
	first = second = stray = strays[0] = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCAN_TEST(test_places),
		SCAN_TEST(test_not_met),
		SCAN_TEST(test_own_thread),
		SCAN_TEST(test_sleeper),
		SCAN_TEST(test_own_stack),
		SCAN_TEST(test_first_stack),
		SCAN_TEST(test_sparse),
		SCAN_TEST(test_truncated),
		SCAN_TEST(test_again),
	};

	return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
