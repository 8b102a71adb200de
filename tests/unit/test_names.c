/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames without names, found again in this very program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/names.h"

#define NOBODY 65534

struct self {
	char path[PATH_MAX];
	char build_id[64 * 2 + 1];
	uintptr_t base; /* what was added to link-time addresses */
};

static void read_note(const char *p, const char *end, struct self *self)
{
	while (p + sizeof(ElfW(Nhdr)) <= end) {
		const ElfW(Nhdr) *note = (const void *)p;
		const char *name = p + sizeof(*note);
		const unsigned char *desc =
			(const unsigned char *)name + ((note->n_namesz + 3) & ~3U);

		if (note->n_type == NT_GNU_BUILD_ID && memcmp(name, "GNU", 4) == 0) {
			for (unsigned i = 0; i < note->n_descsz && i < 64; i++)
				snprintf(self->build_id + 2 * (size_t)i, 3, "%02x", desc[i]);
		}
		p = (const char *)desc + ((note->n_descsz + 3) & ~3U);
	}
}

/* The program itself comes first. */
static int read_self(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct self *self = arg;

	(void)size;
	self->base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *start = (const char *)(info->dlpi_addr + ph->p_vaddr);

		if (ph->p_type == PT_NOTE)
			read_note(start, start + ph->p_memsz, self);
	}
	return 1;
}

static int setup(void **state)
{
	static struct self self;
	ssize_t n = readlink("/proc/self/exe", self.path, sizeof(self.path) - 1);

	if (n <= 0)
		return -1;
	dl_iterate_phdr(read_self, &self);
	*state = &self;
	return 0;
}

static json_t *frame_of(
	const struct self *self, const char *path, const char *build_id, uintptr_t address)
{
	char offset[32];

	snprintf(offset, sizeof(offset), "0x%lx", (unsigned long)(address - self->base));
	return json_pack("{sn sn sn ss ss ss ss}", "function", "file", "line", "module", path,
		"build_id", build_id, "offset", offset, "why", "gone");
}

static json_t *frame_at(const struct self *self, const char *path, const char *build_id)
{
	return frame_of(self, path, build_id, (uintptr_t)frame_at + 4);
}

static const char *function_of(const json_t *frame)
{
	return json_string_value(json_object_get(frame, "function"));
}

static json_t *resolved(json_t *frame)
{
	json_t *answer = json_pack("{s[O] s[{s[o]}]}", "stack", frame, "records", "stack", frame);

	assert_non_null(answer);
	names_resolve(answer);
	assert_ptr_equal(json_array_get(json_object_get(answer, "stack"), 0), frame);
	json_incref(frame);
	json_decref(answer);
	return frame;
}

static void test_found(void **state)
{
	const struct self *self = *state;
	json_t *frame;

	if (!self->build_id[0])
		skip();
	frame = resolved(frame_at(self, self->path, self->build_id));
	assert_non_null(function_of(frame));
	assert_string_equal(function_of(frame), "frame_at");
	json_decref(frame);
}

/* What is inlined, and what a call from inside returns to. */
static uintptr_t returns_to;

static __attribute__((noinline)) void note_caller(void)
{
	returns_to = (uintptr_t)__builtin_return_address(0);
}

static inline __attribute__((always_inline)) void inlined(void)
{
	note_caller();
	__asm__ volatile("");
}

static __attribute__((noinline)) void around(void)
{
	inlined();
	__asm__ volatile("");
}

static void test_inlined(void **state)
{
	const struct self *self = *state;
	json_t *frame, *answer, *stack;

	if (!self->build_id[0])
		skip();
	around();
	frame = frame_of(self, self->path, self->build_id, returns_to - 1);
	answer = json_pack("{s[Oo]}", "stack", frame, frame_at(self, self->path, self->build_id));
	names_resolve(answer);
	stack = json_object_get(answer, "stack");
	assert_int_equal(json_array_size(stack), 3);
	assert_string_equal(function_of(json_array_get(stack, 0)), "inlined");
	assert_true(json_is_true(json_object_get(json_array_get(stack, 0), "inlined")));
	assert_string_equal(function_of(json_array_get(stack, 1)), "around");
	assert_null(json_object_get(json_array_get(stack, 1), "inlined"));
	assert_string_equal(function_of(json_array_get(stack, 2)), "frame_at");
	json_decref(answer);
	json_decref(frame);
}

static void test_demangled(void **state)
{
	const struct self *self = *state;
	void *library = dlopen("libstdc++.so.6", RTLD_NOW);
	json_t *frame, *answer;

	if (!library)
		skip();
	dlclose(library);
	frame = frame_at(self, self->path, self->build_id);
	json_object_set_new(frame, "function", json_string("_ZN2ns5cacheIiE3putEi"));
	frame = resolved(frame);
	assert_string_equal(function_of(frame), "ns::cache<int>::put(int)");
	json_decref(frame);
	/* Lines of history have names only. */
	frame = json_pack("{ss}", "function", "_ZN2ns5cacheIiE3putEi");
	answer = json_pack("{s[{s[O]}]}", "lines", "stack", frame);
	names_resolve(answer);
	assert_string_equal(function_of(frame), "ns::cache<int>::put(int)");
	json_decref(answer);
	json_decref(frame);
}

/* A debuginfod server, as a folder. */
static void test_fetched(void **state)
{
	const struct self *self = *state;
	char dir[] = "/tmp/test_names.XXXXXX", line[3 * PATH_MAX], text[64];
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW);
	json_t *frame;

	if (!library || !self->build_id[0] || system("objcopy --version >/dev/null 2>&1") != 0)
		skip();
	dlclose(library);
	assert_non_null(mkdtemp(dir));
	snprintf(line, sizeof(line),
		"mkdir -p '%s/buildid/%s' && objcopy --only-keep-debug '%s' "
		"'%s/buildid/%s/debuginfo'",
		dir, self->build_id, self->path, dir, self->build_id);
	assert_int_equal(system(line), 0);
	frame = resolved(frame_at(self, "/nonexistent/x", self->build_id));
	assert_null(function_of(frame)); /* nobody named a server */
	json_decref(frame);
	snprintf(text, sizeof(text), "file://%s", dir);
	setenv("DEBUGINFOD_URLS", text, 1);
	setenv("DEBUGINFOD_CACHE_PATH", dir, 1);
	frame = resolved(frame_at(self, "/nonexistent/x", self->build_id));
	unsetenv("DEBUGINFOD_URLS");
	assert_non_null(function_of(frame));
	assert_string_equal(function_of(frame), "frame_at");
	assert_string_equal(json_string_value(json_object_get(frame, "file")), "test_names.c");
	json_decref(frame);
	snprintf(line, sizeof(line), "rm -r '%s'", dir);
	assert_int_equal(system(line), 0);
}

static void test_left_alone(void **state)
{
	static const char other[] = "00112233445566778899aabbccddeeff00112233";
	const struct self *self = *state;
	const char *const cases[][2] = {
		{ self->path, other },
		{ self->path, "" },
		{ self->path, "0000" },
		{ self->path, "xyz" },
		{ "relative", self->build_id },
		{ "/", self->build_id },
		{ "/dev/zero", self->build_id },
		{ "/etc/passwd", self->build_id },
		{ "/nonexistent/x", self->build_id },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *frame = resolved(frame_at(self, cases[i][0], cases[i][1]));

		assert_null(function_of(frame));
		json_decref(frame);
	}
}

static void test_named_frames_stay(void **state)
{
	const struct self *self = *state;
	json_t *frame = frame_at(self, self->path, self->build_id);

	assert_int_equal(json_object_set_new(frame, "function", json_string("theirs")), 0);
	frame = resolved(frame);
	assert_string_equal(function_of(frame), "theirs");
	json_decref(frame);
}

/* A file that somebody else made is not even parsed. */
static void test_files_of_others(void **state)
{
	const struct self *self = *state;
	char dir[] = "/tmp/test_names.XXXXXX", path[64], command[PATH_MAX + 128];
	json_t *frame;

	if (geteuid() != 0 || !self->build_id[0])
		skip();
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/copy", dir);
	snprintf(command, sizeof(command), "cp '%s' '%s'", self->path, path);
	assert_int_equal(system(command), 0);
	frame = resolved(frame_at(self, path, self->build_id));
	assert_non_null(function_of(frame)); /* ours: believed */
	json_decref(frame);
	assert_int_equal(chown(path, NOBODY, NOBODY), 0);
	frame = resolved(frame_at(self, path, self->build_id));
	unlink(path);
	rmdir(dir);
	assert_null(function_of(frame));
	json_decref(frame);
}

static void test_not_an_answer(void **state)
{
	static const char *const texts[] = { "[]", "{}", "{\"records\":1,\"stack\":{}}",
		"{\"records\":[1,[],{\"stack\":[null,1,{}]}]}",
		"{\"stack\":[{\"module\":1,\"build_id\":[],\"offset\":{}}]}",
		"{\"stack\":[{\"module\":\"/bin/sh\",\"build_id\":\"ab\",\"offset\":\"0x\"}]}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *answer = json_loads(texts[i], 0, NULL), *before;

		assert_non_null(answer);
		before = json_deep_copy(answer);
		names_resolve(answer);
		assert_true(json_equal(answer, before));
		json_decref(before);
		json_decref(answer);
	}
	names_resolve(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_inlined),
		cmocka_unit_test(test_demangled),
		cmocka_unit_test(test_fetched),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_named_frames_stay),
		cmocka_unit_test(test_files_of_others),
		cmocka_unit_test(test_not_an_answer),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
