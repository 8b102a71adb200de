/* SPDX-License-Identifier: BSD-3-Clause */
/* What people type for a server; and the public calls' arguments, as far as they need no device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <infiniband/verbs.h>
#include <string.h>

#include "common/target.h"
#include "rmem/rmem.h"

static void test_good_texts(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool local;
	} cases[] = {
		{ NULL, "localhost", 7471, true },
		{ "", "localhost", 7471, true },
		{ "n12", "n12", 7471, false },
		{ "n12:1", "n12", 1, false },
		{ "10.0.0.1:65535", "10.0.0.1", 65535, false },
		{ "127.3.2.1", "127.3.2.1", 7471, true },
		{ "localhost:99", "localhost", 99, true },
		{ "[::1]", "::1", 7471, true },
		{ "[fe80::2]:5", "fe80::2", 5, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target t;

		assert_int_equal(target_parse(cases[i].text, &t, NULL), 0);
		assert_string_equal(t.host, cases[i].host);
		assert_int_equal(t.port, cases[i].port);
		assert_int_equal(t.local, cases[i].local);
	}
}

static void test_bad_texts(void **state)
{
	static const char *const cases[] = { ":7471", "host:", "host:0", "host:65536", "host:-1",
		"host: 1", "host:1x", "fe80::1", "[fe80::1", "[]", "[::1]x", "[::1]:", "a b", "a/b",
		"host:99999999999999999999" };
	char long_name[TARGET_HOST_SIZE + 1];
	struct target t = { .port = 77 };
	struct errinfo errinfo;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		errinfo.text[0] = '\0';
		assert_int_equal(target_parse(cases[i], &t, &errinfo), -EINVAL);
		assert_true(errinfo.text[0]);
		assert_int_equal(t.port, 77);
	}
	memset(long_name, 'h', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(target_parse(long_name, &t, &errinfo), -EINVAL);
}

static void test_public_arguments(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = (struct rmem *)&attr;
	rmem_addr_t addr = 77;

	(void)state;
	assert_string_equal(rmem_errmsg(), "");
	assert_int_equal(rmem_close(NULL), 0);
	assert_int_equal(rmem_open("host:0", NULL, &rm), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "is not a port"));
	assert_int_equal(rmem_open(NULL, NULL, NULL), -EINVAL);
	attr.timeout_ms = -1;
	assert_int_equal(rmem_open(NULL, &attr, &rm), -EINVAL);
	attr = (struct rmem_open_attr){ 0 };
	assert_int_equal(rmem_open(NULL, &attr, &rm), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "initializer"));
	assert_ptr_equal(rm, &attr);
	assert_int_equal(rmem_alloc(NULL, 1, NULL, &addr), -EINVAL);
	assert_int_equal(rmem_free(NULL, 1), -EINVAL);
	assert_int_equal(rmem_read(NULL, &addr, 1, 1), -EINVAL);
	assert_int_equal(rmem_writev(NULL, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(addr, 77);
	assert_string_equal(rmem_version(), RMEM_VERSION);
}

static void test_no_device(void **state)
{
	struct ibv_device **list;
	struct rmem *rm;
	int count = 0;

	(void)state;
	list = ibv_get_device_list(&count);
	if (list)
		ibv_free_device_list(list);
	if (count)
		skip();
	assert_int_equal(rmem_open(NULL, NULL, &rm), -ENODEV);
	assert_non_null(strstr(rmem_errmsg(), "no RDMA device"));
	assert_int_equal(rmem_open("10.0.0.1", NULL, &rm), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_texts),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_public_arguments),
		cmocka_unit_test(test_no_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
