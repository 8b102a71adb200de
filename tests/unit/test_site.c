/* SPDX-License-Identifier: BSD-3-Clause */
/* Stacks of this very program: what is captured, told apart, described and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "client/control/site.h"

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
	d = site_describe(&captured);
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

static void test_modules_are_listed_once(void **state)
{
	struct site_description *d;

	(void)state;
	outer_caller(3);
	d = site_describe(&captured);
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
	struct site_description *d = site_describe(&s);

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

static void test_largest_site_fits_a_message(void **state)
{
	struct site_request request = { .nmodules = SITE_DEPTH_MAX, .nframes = SITE_DEPTH_MAX };
	struct site_names_request names = { .nnames = SITE_DEPTH_MAX };
	struct header header = { 0 };
	uint8_t buf[MESSAGE_MAX];
	struct wire w;

	(void)state;
	for (unsigned i = 0; i < SITE_DEPTH_MAX; i++) {
		memset(request.modules[i].path, 'p', sizeof(request.modules[i].path) - 1);
		memset(names.names[i].function, 'f', sizeof(names.names[i].function) - 1);
		memset(names.names[i].file, 'n', sizeof(names.names[i].file) - 1);
	}
	w = wire_over(buf, sizeof(buf));
	header_put(&w, &header);
	site_request_put(&w, &request);
	assert_false(w.failed);
	w = wire_over(buf, sizeof(buf));
	header_put(&w, &header);
	site_names_request_put(&w, &names);
	assert_false(w.failed);
}

static void test_cache(void **state)
{
	struct sites *sites = sites_create();
	struct stack s = { .depth = 2 };
	struct site site;

	(void)state;
	assert_non_null(sites);
	for (uintptr_t i = 0; i < SITES_CACHED; i++) {
		s.addresses[0] = (void *)(0x1000 + i);
		assert_false(sites_find(sites, &s, &site));
		assert_true(sites_add(sites, &s, (struct site){ (uint32_t)i + 1, NULL }));
	}
	/* Full: no more, and nothing is lost. */
	s.addresses[0] = (void *)1;
	assert_false(sites_add(sites, &s, (struct site){ 5, NULL }));
	assert_false(sites_find(sites, &s, &site));
	for (uintptr_t i = 0; i < SITES_CACHED; i++) {
		s.addresses[0] = (void *)(0x1000 + i);
		assert_true(sites_find(sites, &s, &site));
		assert_int_equal(site.number, i + 1);
	}
	/* A shorter stack with the same beginning is another site. */
	s.depth = 1;
	assert_false(sites_find(sites, &s, &site));
	sites_clear(sites);
	s.depth = 2;
	assert_false(sites_find(sites, &s, &site));
	assert_true(sites_add(sites, &s, (struct site){ 9, NULL }));
	sites_destroy(sites);
	sites_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_frames),
		cmocka_unit_test(test_modules_are_listed_once),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_caller_that_is_not_on_the_stack),
		cmocka_unit_test(test_unknown_code),
		cmocka_unit_test(test_largest_site_fits_a_message),
		cmocka_unit_test(test_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
