/* SPDX-License-Identifier: BSD-3-Clause */
/* C++ names made legible, and what hostile ones do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "ctl/demangle.h"

static void need_library(void)
{
	void *library = dlopen("libstdc++.so.6", RTLD_NOW);

	if (!library)
		skip();
	dlclose(library);
}

static void expect(struct demangler *d, const char *name, const char *expected)
{
	char out[DEMANGLED_SIZE];
	const char *text = demangle(d, name, out);

	if (expected)
		assert_string_equal(text ? text : "(none)", expected);
	else
		assert_null(text);
}

/* No child is left. */
static void end(struct demangler *d)
{
	demangler_end(d);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_names(void **state)
{
	struct demangler d = { 0 };

	(void)state;
	need_library();
	expect(&d, "_ZN2ns5cacheIiE3putEi", "ns::cache<int>::put(int)");
	expect(&d, "_ZN2ns5cacheIlE3putEi", "ns::cache<long>::put(int)");
	end(&d);
	demangler_end(&d);
}

static void test_no_names(void **state)
{
	struct demangler d = { 0 };

	(void)state;
	expect(&d, "main", NULL);
	expect(&d, "", NULL);
	assert_int_equal(d.child, 0); /* nothing to ask */
	expect(&d, "_Z", NULL);
	expect(&d, "_ZN2ns5cacheIiE3put~0123abcd", NULL); /* one that was cut */
	expect(&d, "_Z\xff\xfe\x1b[2J", NULL);
	end(&d);
}

/* Each pair is of the one before it, twice: some 2 to the power of 36 characters. */
static void bomb(char out[512])
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	int n = snprintf(out, 512, "_Z1fSt4pairIiiE");

	for (unsigned i = 0; digits[i]; i++)
		n += snprintf(out + n, (size_t)(512 - n), "S_IS%c_S%c_E", digits[i], digits[i]);
}

static void test_hostile_names(void **state)
{
	struct demangler d = { 0 };
	char name[512];

	(void)state;
	need_library();
	bomb(name);
	expect(&d, name, NULL);
	expect(&d, "_ZN2ns5cacheIiE3putEi",
		"ns::cache<int>::put(int)"); /* the next is not harmed */
	for (int i = 0; i < 5; i++)
		expect(&d, name, NULL);
	expect(&d, "_Z3putv", NULL); /* enough is enough */
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_no_names),
		cmocka_unit_test(test_hostile_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
