/* SPDX-License-Identifier: BSD-3-Clause */
/* Waits are told once, the oldest first, and may come, go and come again while others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "server/base/wait.h"

#define WAITS 4

static struct wait waits[WAITS], *list;
static int told[16], ntold, results[16];
static int cancels = -1,
	   again = -1; /* what the first that is told does to others, or with itself */

static int number(const struct wait *w)
{
	return (int)(w - waits);
}

static void done(struct wait *w, int result)
{
	assert_false(wait_is_on(w));
	results[ntold] = result;
	told[ntold++] = number(w);
	if (cancels >= 0)
		wait_cancel(&waits[cancels]);
	cancels = -1;
	if (number(w) == again)
		wait_on(&list, w, done);
}

static void hang_all(void)
{
	ntold = 0;
	for (int i = 0; i < WAITS; i++)
		wait_on(&list, &waits[i], done);
}

static void told_are(const int numbers[], int n)
{
	assert_int_equal(ntold, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(told[i], numbers[i]);
}

static void test_in_order(void **state)
{
	(void)state;
	hang_all();
	wait_finish(&list, -EIO);
	told_are((const int[]){ 0, 1, 2, 3 }, 4);
	for (int i = 0; i < WAITS; i++)
		assert_int_equal(results[i], -EIO);
	assert_null(list);
	wait_finish(&list, 0); /* nobody */
	assert_int_equal(ntold, WAITS);
}

static void test_cancelled(void **state)
{
	(void)state;
	hang_all();
	wait_cancel(&waits[1]);
	assert_false(wait_is_on(&waits[1]));
	wait_cancel(&waits[1]);
	cancels = 3; /* by the first that is told */
	wait_finish(&list, 0);
	told_are((const int[]){ 0, 2 }, 2);
	assert_false(wait_is_on(&waits[3]));
}

static void test_again(void **state)
{
	(void)state;
	hang_all();
	again = 1;
	wait_finish(&list, 0);
	told_are((const int[]){ 0, 1, 2, 3 }, 4);
	assert_true(wait_is_on(&waits[1]) && list == &waits[1]);
	again = -1;
	wait_finish(&list, 0);
	assert_int_equal(told[4], 1);
	assert_null(list);
}

static void test_moved(void **state)
{
	struct wait *other = NULL;

	(void)state;
	hang_all();
	wait_move(&list, &other);
	assert_null(list);
	wait_cancel(&waits[0]); /* finds the list it is in now */
	wait_finish(&other, 0);
	told_are((const int[]){ 1, 2, 3 }, 3);
	assert_null(other);
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	hang_all();
	again = 0;
	wait_finish_oldest(&list, -EIO);
	told_are((const int[]){ 0 }, 1);
	assert_int_equal(results[0], -EIO);
	again = -1;
	for (int i = 0; i < WAITS + 1; i++) /* one more than there are */
		wait_finish_oldest(&list, 0);
	told_are((const int[]){ 0, 1, 2, 3, 0 }, WAITS + 1);
	assert_null(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_one_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
