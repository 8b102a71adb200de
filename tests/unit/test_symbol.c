/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of code that is really there: this program, a stripped library, a stripped program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/control/site.h"
#include "common/symbol.h"
#include "tests/support/heap.h"

static __attribute__((noinline)) void a_function_to_find(void)
{
	__asm__ volatile("");
}
static const int its_line = __LINE__ - 4;

/* Functions that are inlined, and what calls from inside return to. */
static void *returns_to[4];

static __attribute__((noinline)) void note_caller(unsigned i)
{
	returns_to[i] = __builtin_return_address(0);
}

static inline __attribute__((always_inline)) void inlined_twice(void)
{
	note_caller(1);
	__asm__ volatile("");
}
static const int line_twice = __LINE__ - 3;

static inline __attribute__((always_inline)) void inlined_once(void)
{
	note_caller(0);
	inlined_twice();
	note_caller(2);
	__asm__ volatile("");
}
static const int line_once = __LINE__ - 3;

static __attribute__((noinline)) void not_inlined(void)
{
	inlined_once();
	note_caller(3);
	__asm__ volatile("");
}
static const int line_outside = __LINE__ - 3;

/* Where a loaded address is: the library's own description of a one-frame stack. */
static struct site_description *describe(void *address)
{
	struct stack stack = { .depth = 1, .addresses = { (char *)address + 1 } };
	struct site_description *d = site_describe(heap, &stack);

	assert_non_null(d);
	assert_int_equal(d->request.nframes, 1);
	assert_int_equal(d->request.nmodules, 1);
	return d;
}

static int look_up_all(const struct site_description *d, const char *path,
	struct site_name out[SYMBOL_NAMES_MAX], struct errinfo *errinfo)
{
	struct symbol_file *f;
	int rc;

	rc = symbol_open(path, d->request.modules[0].build_id, NULL, &f, errinfo);
	if (rc)
		return rc;
	rc = symbol_lookup(f, d->request.frames[0].offset, out, errinfo);
	symbol_close(f);
	return rc;
}

/* The innermost name. */
static int look_up(const struct site_description *d, const char *path, struct site_name *out,
	struct errinfo *errinfo)
{
	struct site_name names[SYMBOL_NAMES_MAX] = { *out };
	int rc = look_up_all(d, path, names, errinfo);

	*out = names[0];
	return rc < 0 ? rc : 0;
}

static void test_own_program(void **state)
{
	struct site_description *d = describe((void *)a_function_to_find);
	struct site_name name = { .line = 0 };
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(look_up(d, d->files[0].path, &name, &errinfo), 0);
	assert_string_equal(name.function, "a_function_to_find");
	assert_string_equal(name.file, "test_symbol.c");
	assert_in_range(name.line, its_line, its_line + 3);
	site_description_destroy(d);
}

/* The last byte of the call that returned there, as in the frames of a stack. */
static struct site_description *describe_call(unsigned i)
{
	not_inlined();
	return describe((char *)returns_to[i] - 1);
}

static void test_inlined_functions(void **state)
{
	const struct {
		int n;
		struct {
			const char *function;
			int line;
		} names[3];
	} expected[] = {
		{ 2, { { "inlined_once", line_once - 2 }, { "not_inlined", line_outside - 1 } } },
		{ 3, { { "inlined_twice", line_twice }, { "inlined_once", line_once - 1 },
			     { "not_inlined", line_outside - 1 } } },
		{ 2, { { "inlined_once", line_once }, { "not_inlined", line_outside - 1 } } },
		{ 1, { { "not_inlined", line_outside } } },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct site_description *d = describe_call(i);
		struct site_name names[SYMBOL_NAMES_MAX];
		struct errinfo errinfo;
		int n = look_up_all(d, d->files[0].path, names, &errinfo);

		assert_int_equal(n, expected[i].n);
		for (int k = 0; k < n; k++) {
			assert_string_equal(names[k].function, expected[i].names[k].function);
			assert_string_equal(names[k].file, "test_symbol.c");
			assert_int_equal(names[k].line, expected[i].names[k].line);
			assert_int_equal(names[k].inlined, k + 1 < n);
		}
		site_description_destroy(d);
	}
}

/* Any order, and many times: what is known of a file by then changes no answer. */
static void test_one_file_for_all(void **state)
{
	static const char *const expected[] = { "inlined_once", "inlined_twice", "inlined_once",
		"not_inlined" };
	struct site_description *d = describe_call(0);
	struct symbol_file *f;
	struct site_name names[SYMBOL_NAMES_MAX];
	uint64_t first = d->request.frames[0].offset;

	(void)state;
	assert_int_equal(
		symbol_open(d->files[0].path, d->request.modules[0].build_id, NULL, &f, NULL), 0);
	for (unsigned n = 0; n < 400; n++) {
		unsigned i = n * 7 % 4;
		uint64_t offset = first + (uint64_t)((char *)returns_to[i] - (char *)returns_to[0]);

		assert_true(symbol_lookup(f, offset, names, NULL) > 0);
		assert_string_equal(names[0].function, expected[i]);
	}
	symbol_close(f);
	site_description_destroy(d);
}

static void test_shared_library(void **state)
{
	/* One that no sanitizer puts its own in front of. */
	struct site_description *d = describe(dlsym(RTLD_DEFAULT, "strfry"));
	struct site_name name = { .line = 0 };
	struct errinfo errinfo;

	(void)state;
	assert_non_null(strstr(d->files[0].path, "libc"));
	assert_int_equal(look_up(d, d->files[0].path, &name, &errinfo), 0);
	assert_non_null(strstr(name.function, "strfry"));
	site_description_destroy(d);
}

/* A copy of a program without names, as packages are shipped; or with "-g" only without debug information. */
static void strip_copy(const char *program, const char *option, const char *out)
{
	char command[2 * PATH_MAX];

	if (system("strip --version >/dev/null 2>&1"))
		skip();
	snprintf(command, sizeof(command), "strip %s -o '%s' '%s'", option, out, program);
	assert_int_equal(system(command), 0);
}

static void test_stripped_program(void **state)
{
	struct site_description *d = describe((void *)a_function_to_find);
	char path[] = "/tmp/test_symbol.XXXXXX";
	struct site_name name = { .line = 77 };
	struct errinfo errinfo = { "" };

	(void)state;
	close(mkstemp(path));
	strip_copy(d->files[0].path, "", path);
	assert_int_equal(look_up(d, path, &name, &errinfo), -ENOENT);
	assert_non_null(strstr(errinfo.text, "no symbol"));
	assert_int_equal(name.line, 77);
	unlink(path);
	site_description_destroy(d);
}

/* Nothing says then that anything was inlined, nor which line it is. */
static void test_without_debug_information(void **state)
{
	struct site_description *d = describe_call(1);
	char path[] = "/tmp/test_symbol.XXXXXX";
	struct site_name name = { .line = 0 };
	struct errinfo errinfo;

	(void)state;
	close(mkstemp(path));
	strip_copy(d->files[0].path, "-g", path);
	assert_int_equal(look_up(d, path, &name, &errinfo), 0);
	assert_string_equal(name.function, "not_inlined");
	assert_string_equal(name.file, "");
	assert_int_equal(name.line, 0);
	unlink(path);
	site_description_destroy(d);
}

static void test_another_build(void **state)
{
	struct site_description *d = describe((void *)a_function_to_find);
	struct site_name name = { .line = 0 };
	struct errinfo errinfo = { "" };

	(void)state;
	d->request.modules[0].build_id[0] ^= 1;
	assert_int_equal(look_up(d, d->files[0].path, &name, &errinfo), -ESTALE);
	assert_non_null(strstr(errinfo.text, "another build"));
	site_description_destroy(d);
}

static void test_no_program(void **state)
{
	struct site_description *d = describe((void *)a_function_to_find);
	struct site_name name = { .line = 0 };
	struct errinfo errinfo = { "" };

	(void)state;
	assert_int_equal(look_up(d, "/nonexistent/program", &name, &errinfo), -ENOENT);
	assert_non_null(strstr(errinfo.text, "/nonexistent/program"));
	assert_int_equal(look_up(d, "", &name, &errinfo), -ENOENT);
	assert_int_equal(look_up(d, "/proc/self/status", &name, &errinfo), -ENOEXEC);
	site_description_destroy(d);
	symbol_close(NULL);
}

static void test_address_outside(void **state)
{
	struct site_description *d = describe((void *)a_function_to_find);
	struct site_name name = { .line = 0 };
	struct errinfo errinfo = { "" };

	(void)state;
	d->request.frames[0].offset = UINT64_MAX - 5;
	assert_int_equal(look_up(d, d->files[0].path, &name, &errinfo), -ENOENT);
	site_description_destroy(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_program),
		cmocka_unit_test(test_inlined_functions),
		cmocka_unit_test(test_one_file_for_all),
		cmocka_unit_test(test_shared_library),
		cmocka_unit_test(test_stripped_program),
		cmocka_unit_test(test_without_debug_information),
		cmocka_unit_test(test_another_build),
		cmocka_unit_test(test_no_program),
		cmocka_unit_test(test_address_outside),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
