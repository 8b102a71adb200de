/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread is inside dlopen(), in a constructor, or in a callback of dl_iterate_phdr(): it has locks of the
 * loader, and may call the library. Whatever others do meanwhile with a lock of the library's must not need
 * those, or nobody goes on. Nor does it need malloc(), which the program may have replaced by one that calls the
 * library, and whose locks may be held for as long as another thread likes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/data/explain.h"
#include "client/control/site.h"
#include "client/control/symbolizer.h"

#define ADDR 0x9e00000000001000ULL
#define LIMIT_S 20

static sem_t blocked, go_on;

void blocker_constructor(void);

__attribute__((visibility("default"))) void blocker_constructor(void)
{
	sem_post(&blocked);
	sem_wait(&go_on);
}

static void *load(void *unused)
{
	(void)unused;
	return dlopen(BLOCKER_PATH, RTLD_NOW);
}

static int block(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)info, (void)size, (void)unused;
	blocker_constructor();
	return 1;
}

static void *iterate(void *unused)
{
	(void)unused;
	dl_iterate_phdr(block, NULL);
	return NULL;
}

/* ---- malloc() and its like, as this program and the library call them (--wrap) ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);

static __thread unsigned allocations;

void *__wrap_malloc(size_t bytes)
{
	allocations++;
	return __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	allocations++;
	return __real_calloc(n, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	allocations++;
	return __real_realloc(p, bytes);
}

char *__wrap_strdup(const char *text)
{
	allocations++;
	return __real_strdup(text);
}

void __wrap_free(void *p)
{
	allocations++;
	__real_free(p);
}

/* ---- what is done with locks of the library's: sentences, and the table of sites ---- */

static struct session session;
static struct sites *sites;
static _Atomic uint64_t sites_version;
static struct site_description *description;
static struct stack stack;
static struct errinfo explained;

static void *work(void *unused)
{
	struct operation op = { .kind = OPERATION_READ };
	const struct failure f = {
		.op = &op, .remote = ADDR, .bytes = 8, .status = IBV_WC_REM_ACCESS_ERR
	};
	struct site site;

	(void)unused;
	explain_failure(&f, &session, "peer", &explained);
	(void)sites_find(sites, &stack, 0, &site);
	(void)sites_code(sites, description);
	(void)sites_add(sites, &stack, (struct site){ 1, NULL });
	return explained.text;
}

static void test_while(void *(*holds)(void *))
{
	struct timespec until;
	pthread_t holder, worker;
	int rc;

	assert_int_equal(pthread_create(&holder, NULL, holds, NULL), 0);
	sem_wait(&blocked);
	explained.text[0] = '\0';
	assert_int_equal(pthread_create(&worker, NULL, work, NULL), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT_S;
	rc = pthread_timedjoin_np(worker, NULL, &until);
	sem_post(&go_on);
	if (rc)
		pthread_join(worker, NULL);
	pthread_join(holder, NULL);
	assert_int_equal(rc, 0);
	assert_non_null(strstr(explained.text, "made at site 7, test_loader+0x"));
}

static void test_constructor(void **state)
{
	(void)state;
	test_while(load);
}

static void test_iteration(void **state)
{
	(void)state;
	test_while(iterate);
}

/* More stacks than the table has room for, code that was unloaded, a server that is another one, names to look for. */
static void test_no_malloc(void **state)
{
	struct symbolizer symbolizer = { .session = &session,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER };
	struct stack other = stack;
	struct site_description *d;
	struct site site;

	(void)state;
	symbolizer.last = &symbolizer.first;
	allocations = 0;
	d = site_describe(session.heap, &stack);
	for (uintptr_t i = 0; i < 2 * SITES_CACHED; i++) {
		other.addresses[0] = (void *)i;
		assert_false(sites_find(sites, &other, 0, &site));
		assert_true(sites_add(sites, &other, (struct site){ 1, NULL }));
	}
	other.unloads++;
	assert_false(sites_find(sites, &other, 0, &site));
	sites_clear(sites);
	assert_non_null(sites_code(sites, d));
	symbolizer_add(&symbolizer, d, 7, 1);
	assert_non_null(symbolizer.first);
	assert_int_equal(allocations, 0);
}

static int prepare(void **state)
{
	struct origin origin = { .site = 7 };

	(void)state;
	sem_init(&blocked, 0, 0);
	sem_init(&go_on, 0, 0);
	pthread_mutex_init(&session.table, NULL);
	session.heap = heap_create();
	stack_prepare();
	stack_capture(&stack, __builtin_return_address(0));
	stack.addresses[0] = (char *)prepare + 1;
	description = site_describe(session.heap, &stack);
	sites = sites_create(session.heap, &sites_version);
	origin.code = sites_code(sites, description);
	return blocks_init(&session.blocks, session.heap, NULL) ||
	       blocks_add(&session.blocks,
		       &(struct block){ .addr = ADDR, .bytes = 4096, .id = 1, .origin = origin });
}

static int tidy(void **state)
{
	(void)state;
	site_description_destroy(description);
	heap_destroy(session.heap);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_constructor),
		cmocka_unit_test(test_iteration),
		cmocka_unit_test(test_no_malloc),
	};

	return cmocka_run_group_tests(tests, prepare, tidy);
}
