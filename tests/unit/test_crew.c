/* SPDX-License-Identifier: BSD-3-Clause */
/* Work on several items at the same time, and which error is told. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include <cmocka.h>

#include "server/base/crew.h"

#define ITEMS 5

static bool refuse_threads;
static _Atomic unsigned working, watched;

int __real_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int __wrap_pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return refuse_threads ? EAGAIN : __real_pthread_create(out, attr, run, arg);
}

static void count_watch(void *arg)
{
	assert_ptr_equal(arg, &watched);
	watched++;
}

static int fail_as_told(void *item, struct errinfo *errinfo)
{
	const int *err = item;

	working++;
	return *err ? errinfo_set(errinfo, *err, "error %d", *err) : 0;
}

/* None ends before all have begun: one after the other, it would never end. */
static int meet(void *item, struct errinfo *errinfo)
{
	(void)item;
	(void)errinfo;
	working++;
	while (working < ITEMS)
		;
	return 0;
}

static int run(int (*work)(void *, struct errinfo *), int errs[ITEMS], struct errinfo *errinfo)
{
	const struct crew crew = { .work = work, .watch = count_watch, .arg = &watched };
	void *items[ITEMS];

	for (unsigned i = 0; i < ITEMS; i++)
		items[i] = &errs[i];
	working = 0;
	return crew_run(&crew, items, ITEMS, errinfo);
}

static void test_at_the_same_time(void **state)
{
	int errs[ITEMS] = { 0 };
	struct errinfo errinfo = { "" };

	(void)state;
	assert_int_equal(run(meet, errs, &errinfo), 0);
	assert_int_equal(working, ITEMS);
	assert_int_equal(
		crew_run(&(struct crew){ meet, count_watch, &watched }, NULL, 0, &errinfo), 0);
}

/* The first that is one; that others were stopped is no reason. */
static void test_which_error(void **state)
{
	struct errinfo errinfo = { "" };

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		refuse_threads = round == 1;
		assert_int_equal(
			run(fail_as_told, (int[]){ 0, -ECANCELED, -ENOSPC, -EPERM, 0 }, &errinfo),
			-ENOSPC);
		assert_string_equal(errinfo.text, "error -28");
		assert_int_equal(
			run(fail_as_told, (int[]){ 0, 0, 0, -ECANCELED, 0 }, &errinfo), -ECANCELED);
		assert_int_equal(working, ITEMS);
		assert_int_equal(run(fail_as_told, (int[]){ 0, 0, 0, 0, 0 }, &errinfo), 0);
		assert_int_equal(working, ITEMS);
	}
	refuse_threads = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_the_same_time),
		cmocka_unit_test(test_which_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
