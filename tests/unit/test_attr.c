/* SPDX-License-Identifier: BSD-3-Clause */
/* Structs with a size: what programs that were built with older and newer headers hand over, and get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "client/space/call.h"

/* A struct over time: its first version, ours, and one that is to come. */
struct v1 {
	size_t size;
	uint32_t a, flags;
};
struct ours {
	size_t size;
	uint32_t a, flags;
	uint64_t b;
};
struct next {
	size_t size;
	uint32_t a, flags;
	uint64_t b, c;
};

static struct errinfo errinfo;

static int take(struct ours *dst, const void *src)
{
	memset(dst, 0x55, sizeof(*dst));
	errinfo.text[0] = '\0';
	return call_copy_attr(dst, sizeof(*dst), src, sizeof(struct v1), &errinfo);
}

static void test_older(void **state)
{
	const struct v1 v1 = { sizeof(v1), 1, 2 };
	struct ours got;

	(void)state;
	assert_int_equal(take(&got, &v1), 0);
	assert_int_equal(got.a, 1);
	assert_int_equal(got.flags, 2);
	assert_int_equal(got.b, 0);
}

static void test_newer(void **state)
{
	struct next next = { sizeof(next), 1, 2, 3, 0 };
	struct ours got;

	(void)state;
	assert_int_equal(take(&got, &next), 0);
	assert_int_equal(got.b, 3);
	for (size_t i = sizeof(struct ours); i < sizeof(next); i++) {
		((unsigned char *)&next)[i] = 1;
		assert_int_equal(take(&got, &next), -E2BIG);
		assert_non_null(strstr(errinfo.text, RMEM_VERSION));
		((unsigned char *)&next)[i] = 0;
	}
}

static void test_sizes_of_none(void **state)
{
	struct ours src = { .a = 1 }, got;

	(void)state;
	src.size = sizeof(struct v1) - 1;
	assert_int_equal(take(&got, &src), -EINVAL);
	assert_non_null(strstr(errinfo.text, "initializer"));
	src.size = 0;
	assert_int_equal(take(&got, &src), -EINVAL);
	/* Never set: nothing behind the struct is looked at. */
	src.size = 4097;
	assert_int_equal(take(&got, &src), -E2BIG);
	src.size = SIZE_MAX;
	assert_int_equal(take(&got, &src), -E2BIG);
	assert_non_null(strstr(errinfo.text, "initializer"));
}

static void test_outputs(void **state)
{
	const struct ours ours = { sizeof(ours), 1, 2, 3 };
	struct {
		struct v1 v1;
		uint64_t behind;
	} older = { { sizeof(struct v1), 9, 9 }, 77 };
	struct next newer = { sizeof(newer), 9, 9, 9, 9 };

	(void)state;
	assert_int_equal(call_copy_out(&older, &ours, sizeof(ours), sizeof(struct v1), NULL), 0);
	assert_int_equal(older.v1.size, sizeof(struct v1));
	assert_int_equal(older.v1.flags, 2);
	assert_int_equal(older.behind, 77);
	assert_int_equal(call_copy_out(&newer, &ours, sizeof(ours), sizeof(struct v1), NULL), 0);
	assert_int_equal(newer.size, sizeof(newer));
	assert_int_equal(newer.b, 3);
	assert_int_equal(newer.c, 0);
	older.v1.size--;
	assert_int_equal(
		call_copy_out(&older, &ours, sizeof(ours), sizeof(struct v1), NULL), -EINVAL);
	older.v1.size = SIZE_MAX;
	assert_int_equal(
		call_copy_out(&older, &ours, sizeof(ours), sizeof(struct v1), NULL), -E2BIG);
	assert_int_equal(older.v1.flags, 2);
}

static void test_flags(void **state)
{
	(void)state;
	assert_int_equal(call_check_flags(0, 0, NULL), 0);
	assert_int_equal(call_check_flags(5, 5, NULL), 0);
	assert_int_equal(call_check_flags(7, 5, &errinfo), -EINVAL);
	assert_non_null(strstr(errinfo.text, "0x2"));
}

/* The public call that needs no session. */
static void test_open(void **state)
{
	struct {
		struct rmem_open_attr attr;
		uint64_t later;
	} newer = { RMEM_OPEN_ATTR_INIT, 0 };
	struct rmem *rm = (void *)&newer;

	(void)state;
	newer.attr.size = sizeof(newer);
	newer.attr.channels = -1;
	assert_int_equal(rmem_open(NULL, &newer.attr, &rm), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "channels"));
	newer.later = 1;
	assert_int_equal(rmem_open(NULL, &newer.attr, &rm), -E2BIG);
	newer.attr.size = offsetof(struct rmem_open_attr, channels);
	assert_int_equal(rmem_open(NULL, &newer.attr, &rm), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "initializer"));
	assert_ptr_equal(rm, &newer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_newer),
		cmocka_unit_test(test_sizes_of_none),
		cmocka_unit_test(test_outputs),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
