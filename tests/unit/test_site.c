/* SPDX-License-Identifier: BSD-3-Clause */
/* Stacks of this very program: what is captured, told apart, described and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/control/site.h"
#include "common/site_names.h"
#include "tests/support/heap.h"

static struct stack captured;

/* As rmem_alloc(): its own frame is not part of the site. */
static __attribute__((noinline)) void capture(void)
{
	stack_capture(&captured, __builtin_return_address(0));
	__asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void inner_caller(void)
{
	capture();
	__asm__ volatile("");
}

static __attribute__((noinline)) void outer_caller(int deeper)
{
	if (deeper > 0)
		outer_caller(deeper - 1);
	else
		inner_caller();
	__asm__ volatile("");
}

static void test_names_of_frames(void **state)
{
	struct site_names_request names;
	struct site_description *d;

	(void)state;
	outer_caller(1);
	d = site_describe(heap, &captured);
	assert_non_null(d);
	assert_int_equal(d->request.nframes, captured.depth);
	site_resolve(d, 7, &names);
	assert_int_equal(names.site, 7);
	assert_int_equal(names.nnames, captured.depth);
	assert_string_equal(names.names[0].function, "inner_caller");
	assert_string_equal(names.names[0].file, "test_site.c");
	assert_true(names.names[0].line > 0);
	assert_string_equal(names.names[1].function, "outer_caller");
	assert_string_equal(names.names[2].function, "outer_caller");
	assert_string_equal(names.names[3].function, "test_names_of_frames");
	site_description_destroy(d);
}

/* The thread that looks for names may go on when the session, and its heap, are gone. */
static void test_copy_outlives_the_heap(void **state)
{
	struct heap *first = heap_create();
	struct site_names_request names;
	struct site_description *copy;

	(void)state;
	assert_non_null(first);
	outer_caller(1);
	copy = site_description_copy(heap, site_describe(first, &captured));
	heap_destroy(first);
	assert_non_null(copy);
	site_resolve(copy, 7, &names);
	assert_string_equal(names.names[0].function, "inner_caller");
	assert_string_equal(names.names[1].function, "outer_caller");
	site_description_destroy(copy);
}

static void test_modules_are_listed_once(void **state)
{
	struct site_description *d;

	(void)state;
	outer_caller(3);
	d = site_describe(heap, &captured);
	assert_non_null(d);
	for (unsigned i = 0; i < d->request.nmodules; i++) {
		assert_true(d->request.modules[i].path[0]);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(
				d->request.modules[i].path, d->request.modules[j].path);
	}
	for (unsigned i = 0; i < d->request.nframes; i++)
		assert_true(d->request.frames[i].module < d->request.nmodules);
	assert_non_null(strstr(d->request.modules[0].path, "test_site"));
	site_description_destroy(d);
	site_description_destroy(NULL);
}

static void test_depth_is_bounded(void **state)
{
	(void)state;
	outer_caller(100);
	assert_int_equal(captured.depth, SITE_DEPTH_MAX);
}

static void test_caller_that_is_not_on_the_stack(void **state)
{
	struct stack s;

	(void)state;
	stack_capture(&s, (void *)0x1234);
	assert_int_equal(s.depth, 1);
	assert_ptr_equal(s.addresses[0], (void *)0x1234);
}

/* Code outside every file, as a JIT compiler makes it. */
static void test_unknown_code(void **state)
{
	struct stack s = { .depth = 1, .addresses = { (void *)0x1001 } };
	struct site_names_request names;
	struct site_description *d = site_describe(heap, &s);

	(void)state;
	assert_non_null(d);
	assert_int_equal(d->request.nmodules, 1);
	assert_int_equal(d->request.frames[0].offset, 0x1000);
	assert_string_equal(d->request.modules[0].path, "");
	site_resolve(d, 1, &names);
	assert_string_equal(names.names[0].function, "");
	assert_non_null(strstr(names.names[0].file, "code outside any file"));
	site_description_destroy(d);
}

/* ---- a library without a build id, which may be replaced ---- */

static char folder[] = "/tmp/test_site.XXXXXX", library[64];

/* As a package manager does it: the new file gets the name of the old one, which stays what is mapped. */
static void install(const char *module)
{
	char line[512];

	snprintf(line, sizeof(line), "cp '%s/%s.so' '%s.new' && mv '%s.new' '%s'", MODULES_DIR,
		module, library, library, library);
	assert_int_equal(system(line), 0);
}

static struct site_description *describe(void *module, const char *function)
{
	char *code = dlsym(module, function);
	struct stack s = { .depth = 1, .addresses = { code + 1 } };
	struct site_description *d = site_describe(heap, &s);

	assert_non_null(code);
	assert_non_null(d);
	assert_string_equal(d->files[0].path, library);
	return d;
}

static void expect_name(const struct site_description *d, const char *function, const char *why)
{
	struct site_names_request names;

	site_resolve(d, 1, &names);
	assert_string_equal(names.names[0].function, function);
	assert_true(!why || strstr(names.names[0].file, why));
}

static bool same_build(const struct site_description *a, const struct site_description *b)
{
	return memcmp(a->request.modules[0].build_id, b->request.modules[0].build_id,
		       BUILD_ID_SIZE) == 0;
}

static void test_replaced_library(void **state)
{
	struct site_description *before, *again, *after, *new;
	void *old, *module;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(library, sizeof(library), "%s/lib.so", folder);
	install("module_original");
	old = dlopen(library, RTLD_NOW);
	assert_non_null(old);
	before = describe(old, "original");
	again = describe(old, "original");
	expect_name(before, "original", NULL);
	assert_true(same_build(before, again));

	install("module_replacement");
	after = describe(old, "original");
	/* Described before that, or after it: the names in the new file are not those of what runs. */
	expect_name(before, "", "was replaced");
	expect_name(after, "", "was replaced");
	dlclose(old);
	module = dlopen(library, RTLD_NOW);
	assert_non_null(module);
	new = describe(module, "replacement");
	/* The new one is another site, although its code is at the same place of a file of that name. */
	expect_name(new, "replacement", NULL);
	assert_int_equal(before->request.frames[0].offset, new->request.frames[0].offset);
	assert_false(same_build(before, new));
	assert_false(same_build(after, new));

	dlclose(module);
	site_description_destroy(before);
	site_description_destroy(again);
	site_description_destroy(after);
	site_description_destroy(new);
	unlink(library);
	rmdir(folder);
}

static void test_largest_site_fits_a_message(void **state)
{
	struct site_request request = { .nmodules = SITE_DEPTH_MAX, .nframes = SITE_DEPTH_MAX };
	struct site_names_request names = { .nnames = SITE_NAMES_MAX };
	struct header header = { 0 };
	uint8_t buf[MESSAGE_MAX];
	struct wire w;

	(void)state;
	for (unsigned i = 0; i < SITE_DEPTH_MAX; i++) {
		memset(request.modules[i].path, 'p', sizeof(request.modules[i].path) - 1);
	}
	for (unsigned i = 0; i < SITE_NAMES_MAX; i++) {
		memset(names.names[i].function, 'f', 50);
		memset(names.names[i].file, 'n', 22);
		names.names[i].inlined = i % 3 < 2;
	}
	memset(names.names[0].function, 'f', 50 + SITE_NAMES_BYTES - site_names_bytes(&names));
	assert_true(site_names_are_possible(&names, SITE_DEPTH_MAX));
	assert_int_equal(site_names_bytes(&names), SITE_NAMES_BYTES);
	w = wire_over(buf, sizeof(buf));
	header_put(&w, &header);
	site_request_put(&w, &request);
	assert_false(w.failed);
	w = wire_over(buf, sizeof(buf));
	header_put(&w, &header);
	site_names_request_put(&w, &names);
	assert_false(w.failed);
}

static struct stack stack_number(uintptr_t i)
{
	return (struct stack){ .depth = 2, .addresses = { (void *)(0x1000 + i), (void *)7 } };
}

static void test_cache(void **state)
{
	_Atomic uint64_t version = 0;
	struct sites *sites = sites_create(heap, &version);
	struct stack s;
	struct site site;

	(void)state;
	assert_non_null(sites);
	for (uintptr_t i = 0; i < SITES_CACHED; i++) {
		s = stack_number(i);
		assert_false(sites_find(sites, &s, 0, &site));
		assert_true(sites_add(sites, &s, (struct site){ (uint32_t)i + 1, NULL }));
	}
	for (uintptr_t i = 0; i < SITES_CACHED; i++) {
		s = stack_number(i);
		assert_true(sites_find(sites, &s, 0, &site));
		assert_int_equal(site.number, i + 1);
	}
	/* A shorter stack with the same beginning is another site. */
	s.depth = 1;
	assert_false(sites_find(sites, &s, 0, &site));
	/* Full: it begins anew, and the newest are found. */
	for (uintptr_t i = SITES_CACHED; i < 3 * SITES_CACHED; i++) {
		s = stack_number(i);
		assert_true(sites_add(sites, &s, (struct site){ (uint32_t)i + 1, NULL }));
		assert_true(sites_find(sites, &s, 0, &site));
		assert_int_equal(site.number, i + 1);
	}
	s = stack_number(0);
	assert_false(sites_find(sites, &s, 0, &site));
	sites_clear(sites);
	s = stack_number(3 * SITES_CACHED - 1);
	assert_false(sites_find(sites, &s, 0, &site));
	assert_true(sites_add(sites, &s, (struct site){ 9, NULL }));
}

/* What number_site() does in client/space/memory.c; returns whether the server was asked. */
static bool ask(struct sites *sites, uintptr_t i, uint64_t now, bool refused)
{
	struct stack s = stack_number(i);
	struct site site = { 0 };

	if (sites_find(sites, &s, now, &site))
		return false;
	if (!sites_may_ask(sites, now)) {
		assert_true(sites_add(sites, &s, (struct site){ 0 }));
		return false;
	}
	if (refused)
		sites_refused(sites, now);
	assert_true(sites_add(sites, &s, (struct site){ refused ? 0 : 5, NULL }));
	return true;
}

/* Many more stacks than a server numbers, for ten minutes: it is asked a few times, not each time. */
static void test_refused(void **state)
{
	_Atomic uint64_t version = 0;
	struct sites *sites = sites_create(heap, &version);
	unsigned asked = 0;
	uint64_t now = 1;

	(void)state;
	assert_true(ask(sites, 0, now, false));
	assert_false(ask(sites, 0, now, false));
	for (unsigned i = 0; i < 600; i++, now += NSEC_PER_SEC)
		for (uintptr_t stack = 1; stack < 100; stack++)
			asked += ask(sites, i * 50 + stack, now, true);
	assert_in_range(asked, 10, 20);
	/* A stack that has a number keeps it meanwhile. */
	assert_false(ask(sites, 0, now, false));
	/* It has room again: all are asked for, once. */
	now += SITES_QUIET_MAX_NS;
	assert_true(ask(sites, 1, now, false));
	assert_true(ask(sites, 2, now, false));
	assert_false(ask(sites, 1, now, false));
	/* The server is another one now. */
	sites_refused(sites, now);
	assert_false(ask(sites, 3, now, false));
	sites_clear(sites);
	assert_true(ask(sites, 3, now, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_frames),
		cmocka_unit_test(test_copy_outlives_the_heap),
		cmocka_unit_test(test_modules_are_listed_once),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_caller_that_is_not_on_the_stack),
		cmocka_unit_test(test_unknown_code),
		cmocka_unit_test(test_replaced_library),
		cmocka_unit_test(test_largest_site_fits_a_message),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
