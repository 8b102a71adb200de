/* SPDX-License-Identifier: BSD-3-Clause */
/* Which programs the library says it can run; names of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "rmem/rmem.h"

static void test_check(void **state)
{
	(void)state;
	assert_int_equal(rmem_version_check(RMEM_VERSION_NUMBER), 0);
	assert_int_equal(rmem_version_check(RMEM_VERSION_NUMBER + 255), 0); /* a patch of it */
	assert_int_equal(rmem_version_check(RMEM_VERSION_MAJOR * 65536U), 0);
	assert_int_equal(rmem_version_check(RMEM_VERSION_NUMBER + 256), -ENOSYS);
	assert_non_null(strstr(rmem_errmsg(), "newer"));
	assert_non_null(strstr(rmem_errmsg(), rmem_version()));
	assert_int_equal(rmem_version_check(RMEM_VERSION_NUMBER + 65536), -ENOSYS);
	assert_non_null(strstr(rmem_errmsg(), "major"));
	assert_int_equal(rmem_version_check(UINT32_MAX), -ENOSYS);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(rmem_err_name(-ESTALE), "ESTALE");
	assert_string_equal(rmem_err_name(-EAGAIN), "EAGAIN");
	assert_string_equal(rmem_err_name(-E2BIG), "E2BIG");
	assert_string_equal(rmem_err_name(0), "OK");
	assert_string_equal(rmem_err_name(1), "OK"); /* a lock whose owner has died is held */
	assert_string_equal(rmem_err_name(-4095), "unknown error");
	assert_string_equal(rmem_err_name(INT_MIN), "unknown error");
	/* Every errno value of the system has one. */
	for (int i = 1; i < 4096; i++) {
		assert_non_null(rmem_err_name(-i));
		if (strerrordesc_np(i))
			assert_int_equal(rmem_err_name(-i)[0], 'E');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
