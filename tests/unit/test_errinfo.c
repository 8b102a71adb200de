/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "common/errinfo.h"

static void returns_the_error_and_keeps_the_text(void **state)
{
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(
		errinfo_set(&errinfo, -ENODEV, "no device %s; use %d", "mlx5_9", 7), -ENODEV);
	assert_string_equal(errinfo.text, "no device mlx5_9; use 7");
	assert_int_equal(errinfo_set(NULL, -EINVAL, "nobody asks"), -EINVAL);
}

static void may_be_given_errno(void **state)
{
	struct errinfo errinfo;

	(void)state;
	errno = EACCES;
	assert_int_equal(errinfo_set(&errinfo, -errno, "%m"), -EACCES);
	assert_int_equal(errno, EACCES);
	assert_string_equal(errinfo.text, strerror(EACCES));
}

static void long_reasons_are_cut(void **state)
{
	char text[2 * ERRINFO_TEXT_SIZE];
	struct errinfo errinfo;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	errinfo_set(&errinfo, -EIO, "%s", text);
	assert_int_equal(strlen(errinfo.text), ERRINFO_TEXT_SIZE - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_the_error_and_keeps_the_text),
		cmocka_unit_test(may_be_given_errno),
		cmocka_unit_test(long_reasons_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
