/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rundir.h"

#define NOBODY 65534

static void test_fixed_paths(void **state)
{
	char path[RUNDIR_PATH_SIZE];

	(void)state;
	assert_int_equal(rundir_data_dir(7471, path, sizeof(path)), 0);
	assert_string_equal(path, "/dev/shm/rmemd-7471");
	assert_int_equal(rundir_system_socket(65535, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/rmemd/65535.sock");
}

static void test_too_long_changes_nothing(void **state)
{
	char path[8] = "before";

	(void)state;
	assert_int_equal(rundir_data_dir(7471, path, sizeof(path)), -ENAMETOOLONG);
	assert_string_equal(path, "before");
	assert_int_equal(rundir_data_dir(7471, path, strlen("/dev/shm/rmemd-7471")), -ENAMETOOLONG);
	assert_string_equal(path, "before");
}

/* The rule depends on who asks, so ask as root (when we are) and as somebody else. */
static void test_admin_socket(void **state)
{
	char path[RUNDIR_PATH_SIZE];
	bool root = geteuid() == 0;

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/1001", 1);
	if (root) {
		assert_int_equal(rundir_admin_socket(7471, path, sizeof(path)), 0);
		assert_string_equal(path, "/run/rmemd/7471.sock");
		assert_int_equal(seteuid(NOBODY), 0);
	}
	assert_int_equal(rundir_admin_socket(7471, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/user/1001/rmemd/7471.sock");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	assert_int_equal(rundir_admin_socket(7471, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/rmemd/7471.sock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(rundir_admin_socket(7471, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/rmemd/7471.sock");
	if (root)
		assert_int_equal(seteuid(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed_paths),
		cmocka_unit_test(test_too_long_changes_nothing),
		cmocka_unit_test(test_admin_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
