/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites and their names, from a program to the operator: what was inlined, long names of C++, names that come too
 * late, code that was replaced, more stacks than a server keeps.
 */
#include "tests/rxe/rig.h"

#include <dlfcn.h>
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/message.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/snags.h"

#define BYTES 100
#define NUMBERED 2048           /* what a server numbers for one session: SESSION_SITES_MAX */
#define STACKS (NUMBERED + 600) /* how many the library keeps: test_site.c */
#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- where memory is asked for ---- */

static int helper_line, first_line, second_line;

static inline __attribute__((always_inline)) rmem_addr_t helper(struct rmem *rm)
{
	rmem_addr_t addr = 0;

	helper_line = __LINE__ + 1;
	lib_succeed(rmem_alloc(rm, BYTES, &lib_isolated, &addr));
	return addr;
}

static __attribute__((noinline)) rmem_addr_t first_user(struct rmem *rm)
{
	rmem_addr_t addr;

	first_line = __LINE__ + 1;
	addr = helper(rm);
	__asm__ volatile("" ::: "memory");
	return addr;
}

static __attribute__((noinline)) rmem_addr_t second_user(struct rmem *rm)
{
	rmem_addr_t addr;

	second_line = __LINE__ + 1;
	addr = helper(rm);
	__asm__ volatile("" ::: "memory");
	return addr;
}

/* As a compiler of C++ names void app::cache<kk...k, int>::fill() and that of long: 150 bytes say the same. */
#define K10 "kkkkkkkkkk"
#define K120 K10 K10 K10 K10 K10 K10 K10 K10 K10 K10 K10 K10
rmem_addr_t cache_of_int(struct rmem *rm) __asm__("_ZN3app5cacheI120" K120 "iE4fillEv");
rmem_addr_t cache_of_long(struct rmem *rm) __asm__("_ZN3app5cacheI120" K120 "lE4fillEv");

__attribute__((noinline)) rmem_addr_t cache_of_int(struct rmem *rm)
{
	rmem_addr_t addr = lib_alloc(rm, BYTES);

	__asm__ volatile("" ::: "memory");
	return addr;
}

__attribute__((noinline)) rmem_addr_t cache_of_long(struct rmem *rm)
{
	rmem_addr_t addr = lib_alloc(rm, BYTES);

	__asm__ volatile("" ::: "memory");
	return addr;
}

/* ---- what is known of it ---- */

static struct rig_output output;

static json_t *frame_of(const json_t *who, size_t i)
{
	return json_array_get(json_object_get(who, "stack"), i);
}

static bool is_named(const json_t *who, void *unused)
{
	(void)unused;
	return *rig_text(frame_of(who, 0), "function") != '\0';
}

static const char *ask_who(rmem_addr_t addr)
{
	static char request[64];

	snprintf(request, sizeof(request), "{\"cmd\":\"who-holds\",\"addr\":\"0x%" PRIx64 "\"}",
		addr);
	return request;
}

/* As rmemd knows it, once the program has sent names. */
static json_t *await_names(struct rig *r, rmem_addr_t addr)
{
	return rig_await(r, ask_who(addr), is_named, NULL, "the names of a call site");
}

/* As rmemctl shows it: with names that it has found itself. */
static void show(struct rig *r, rmem_addr_t addr)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, addr);
	rig_ctl(r, ARGUMENTS("who-holds", text), &output);
	assert_string_equal(output.err, "");
}

static void expect_shown(const char *function, int line, const char *more)
{
	char text[128];

	snprintf(text, sizeof(text), "%s (test_call_sites.c:%d%s)", function, line, more);
	if (!strstr(output.out, text))
		fail_msg("no %s in %s", text, output.out);
}

static void expect_frame(const json_t *who, size_t i, const char *function, int line, bool inlined)
{
	const json_t *frame = frame_of(who, i);

	assert_string_equal(rig_text(frame, "function"), function);
	assert_string_equal(rig_text(frame, "file"), "test_call_sites.c");
	assert_int_equal(rig_number(frame, "line"), line);
	assert_int_equal(json_is_true(json_object_get(frame, "inlined")), inlined);
}

static void expect_inlined(struct rig *r, rmem_addr_t addr, const char *user, int line)
{
	json_t *who = await_names(r, addr);

	expect_frame(who, 0, "helper", helper_line, true);
	expect_frame(who, 1, user, line, false);
	json_decref(who);
}

/* Each with its own line: the helper's, and that of what it was inlined into. */
static void test_inlined(void **state)
{
	struct rig *r = *state;
	rmem_addr_t first, second;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	first = first_user(rm);
	second = second_user(rm);
	expect_inlined(r, first, "first_user", first_line);
	expect_inlined(r, second, "second_user", second_line);
	show(r, second);
	expect_shown("helper", helper_line, ", inlined");
	expect_shown("second_user", second_line, "");
	lib_succeed(rmem_free(rm, first));
	lib_succeed(rmem_free(rm, second));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

static void expect_instance(struct rig *r, rmem_addr_t addr, const char *text, const char * not )
{
	json_decref(await_names(r, addr));
	show(r, addr);
	if (!strstr(output.out, text) || strstr(output.out, not ))
		fail_msg("%s, not %s: %s", text, not, output.out);
}

static void test_instances_of_a_template(void **state)
{
	struct rig *r = *state;
	rmem_addr_t a, b;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	a = cache_of_int(rm);
	b = cache_of_long(rm);
	expect_instance(r, a, ", int>::fill()", ", long>");
	expect_instance(r, b, ", long>::fill()", ", int>");
	lib_succeed(rmem_free(rm, a));
	lib_succeed(rmem_free(rm, b));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* ---- too late ---- */

struct said {
	rmem_addr_t addr;
	int helper_line, first_line;
};

/* libdw never answers, until this is killed. */
static int forsake(uint16_t port)
{
	char server[80];
	struct said said;

	snprintf(server, sizeof(server), "%s:%u", rig_host(), port);
	snag_symbols(SNAG_STUCK);
	said.addr = first_user(lib_open(server, 0));
	said.helper_line = helper_line;
	said.first_line = first_line;
	return process_speak(&said, sizeof(said));
}

/* The server keeps build id and offset; rmemctl finds the names, inlined functions too. */
static void test_named_later(void **state)
{
	struct rig *r = *state;
	struct process p;
	struct said said;
	int input;
	json_t *who;
	pid_t pid;

	rig_start(r, NULL);
	process_start_speaker(&p, "forsaken", r->port, &said, sizeof(said), &input);
	pid = p.pid;
	process_signal(&p, SIGKILL);
	process_wait(&p, RIG_LIMIT_MS, "a client that was killed");
	rig_await_dead(r, pid);
	who = rig_ask(r, ask_who(said.addr));
	assert_string_equal(rig_text(frame_of(who, 0), "function"), "");
	assert_true(strlen(rig_text(frame_of(who, 0), "build_id")) >= 16);
	assert_true(strtoull(rig_text(frame_of(who, 0), "offset"), NULL, 16) > 0);
	json_decref(who);
	show(r, said.addr);
	expect_shown("helper", said.helper_line, ", inlined");
	expect_shown("first_user", said.first_line, "");
	rig_stop(r, true);
}

/* ---- while libdw takes its time ---- */

/* The nice value of our thread that looks for names; -100: there is none. */
static int nice_of_resolver(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int found = -100;
	struct dirent *e;

	assert_non_null(tasks);
	while (found == -100 && (e = readdir(tasks)) != NULL) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f) && strcmp(name, "rmem-resolver\n") == 0)
			found = getpriority(PRIO_PROCESS, (id_t)atoi(e->d_name));
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return found;
}

static void await_stuck(unsigned before)
{
	for (int ms = 0; snag_symbols_met() == before; ms += 20) {
		assert_true(ms < RIG_LIMIT_MS);
		rig_elapse(20);
	}
}

/* Everything goes on, from other call sites too, and the names come when they can. */
static void test_nothing_waits_for_names(void **state)
{
	const unsigned before = snag_symbols_met();
	struct rig *r = *state;
	rmem_addr_t first, second;
	struct rmem *rm;

	rig_start(r, NULL);
	snag_symbols(SNAG_STUCK);
	rm = lib_open(r->server, 0);
	first = first_user(rm);
	await_stuck(before);
	assert_int_equal(nice_of_resolver(), 19);
	second = second_user(rm);
	lib_replace(rm, second, BYTES);
	assert_int_equal(lib_read_word(rm, second), 0);
	snag_symbols(SNAG_NONE);
	json_decref(await_names(r, first));
	lib_succeed(rmem_free(rm, first));
	lib_succeed(rmem_free(rm, second));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* ---- a library without a build id, which is replaced ---- */

static char library[100];

/* As a package manager does it: the new file gets the name of the old one, which stays what is mapped. */
static void install(const char *version)
{
	char line[512];

	snprintf(line, sizeof(line), "cp '%s/%s.so' '%s.new' && mv '%s.new' '%s'", TESTS_BIN_DIR,
		version, library, library, library);
	assert_int_equal(system(line), 0);
}

struct loan {
	struct rmem *rm;
	rmem_addr_t addr;
};

static int take(void *arg)
{
	struct loan *loan = arg;
	const int rc = rmem_alloc(loan->rm, BYTES, &lib_isolated, &loan->addr);

	__asm__ volatile("" ::: "memory");
	return rc;
}

static rmem_addr_t take_through(struct rmem *rm, void *module, const char *function)
{
	struct loan loan = { .rm = rm };
	int (*call)(int (*)(void *), void *);

	*(void **)&call = dlsym(module, function);
	assert_non_null(call);
	lib_succeed(call(take, &loan));
	return loan.addr;
}

/* No name is better than that of a function that never ran: neither the library nor rmemctl has one for it. */
static void test_replaced_library(void **state)
{
	const unsigned before = snag_symbols_met();
	struct rig *r = *state;
	rmem_addr_t first, old, new;
	struct rmem *rm;
	void *module;
	json_t *who;

	rig_start(r, NULL);
	snprintf(library, sizeof(library), "%s/caller.so", r->dir);
	install("original_caller");
	module = dlopen(library, RTLD_NOW);
	assert_non_null(module);
	rm = lib_open(r->server, 0);
	snag_symbols(SNAG_STUCK);
	first = first_user(rm);
	await_stuck(before); /* so nobody has looked at the library yet */
	old = take_through(rm, module, "original_caller");
	install("replaced_caller");
	snag_symbols(SNAG_NONE);
	who = await_names(r, old);
	assert_string_equal(rig_text(frame_of(who, 0), "function"), "take");
	assert_string_equal(rig_text(frame_of(who, 1), "function"), "");
	json_decref(who);
	show(r, old);
	assert_non_null(strstr(output.out, "was replaced"));
	assert_null(strstr(output.out, "replaced_caller"));

	dlclose(module);
	module = dlopen(library, RTLD_NOW);
	assert_non_null(module);
	new = take_through(rm, module, "replaced_caller");
	who = await_names(r, new);
	assert_string_equal(rig_text(frame_of(who, 1), "function"), "replaced_caller");
	json_decref(who);
	lib_succeed(rmem_free(rm, first));
	lib_succeed(rmem_free(rm, old));
	lib_succeed(rmem_free(rm, new));
	lib_succeed(rmem_close(rm));
	dlclose(module);
	rig_end(r);
}

/* ---- more stacks than are numbered ---- */

/* A call for each bit, which the compiler must not make one of. */
static __attribute__((noinline)) rmem_addr_t descend(struct rmem *rm, unsigned number, int bits)
{
	rmem_addr_t addr;

	if (bits == 0)
		return lib_alloc_object(rm, BYTES);
	if (number & 1) {
		addr = descend(rm, number >> 1, bits - 1);
		__asm__ volatile("nop" ::: "memory");
	} else {
		addr = descend(rm, number >> 1, bits - 1);
		__asm__ volatile("nop\n\tnop" ::: "memory");
	}
	return addr;
}

/* A stack for each number, wherever this is called: what is outside of it is beyond SITE_DEPTH_MAX. */
static rmem_addr_t take_from(struct rmem *rm, unsigned number)
{
	return descend(rm, number << 2, SITE_DEPTH_MAX - 1);
}

static void take_many(struct rmem *rm, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		lib_succeed(rmem_free(rm, take_from(rm, i)));
}

static bool has_whole_stack(const json_t *who, void *unused)
{
	(void)unused;
	return json_array_size(json_object_get(who, "stack")) == SITE_DEPTH_MAX;
}

/* A server that numbers no more is asked now and then, not at every allocation, and the ones it knows stay known. */
static void test_too_many_stacks(void **state)
{
	struct rig *r = *state;
	long long refused;
	rmem_addr_t addr;
	struct rmem *rm;

	rig_start(r, NULL);
	snag_symbols(SNAG_REFUSED);
	rm = lib_open(r->server, 0);
	take_many(rm, 0, NUMBERED + 200);
	assert_int_equal(rig_ask_number(r, "status", "sites"), NUMBERED);
	refused = rig_look(r).refused;
	assert_true(refused > 0);
	take_many(rm, NUMBERED + 200, STACKS);
	take_many(rm, NUMBERED + 200, STACKS);
	/* After one, two, four seconds, ... */
	assert_in_range(rig_look(r).refused - refused, 0, 12);
	addr = take_from(rm, 1);
	json_decref(rig_await(r, ask_who(addr), has_whole_stack, NULL, "the record of an object"));
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	snag_symbols(SNAG_NONE);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_inlined),
		RIG_TEST(test_instances_of_a_template),
		RIG_TEST(test_named_later),
		RIG_TEST(test_nothing_waits_for_names),
		RIG_TEST(test_replaced_library),
		RIG_TEST(test_too_many_stacks),
	};

	if (argc == 3 && strcmp(argv[1], "forsaken") == 0)
		return forsake((uint16_t)atoi(argv[2]));
	return rig_main(RIG_PORT_SITES, tests, sizeof(tests) / sizeof(tests[0]));
}
