/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbered programs in examples/ print what they say, and leave nothing behind. */
#include "tests/rxe/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rmem/rmem.h"

#define OUTPUT_MAX 4096

/* Run it, and have what it printed. */
static void run_example(struct rig *r, const char *name, char out[OUTPUT_MAX])
{
	char path[128], program[512];
	const char *const argv[] = { program, r->server, NULL };
	struct process example;
	ssize_t n;
	int fd, status;

	snprintf(program, sizeof(program), BIN_DIR "/%s", name);
	snprintf(path, sizeof(path), "%s/output", r->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
#ifndef __SANITIZE_ADDRESS__ /* that has to be the first library */
	setenv("LD_PRELOAD", PATIENT_PATH, 1);
#endif
	process_start(&example, argv, (const int[]){ -1, fd, -1 });
	unsetenv("LD_PRELOAD");
	status = process_wait(&example, RIG_LIMIT_MS, name);
	n = pread(fd, out, OUTPUT_MAX - 1, 0);
	assert_true(n >= 0);
	out[n] = '\0';
	close(fd);
	assert_int_equal(unlink(path), 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s ended with status 0x%x, and said: %s", name, (unsigned)status, out);
}

/* It prints these lines, in order, and perhaps others in between. */
static void expect_lines(const char *name, const char *out, const char *const lines[])
{
	const char *at = out;

	for (int i = 0; lines[i]; i++) {
		const char *found = strstr(at, lines[i]);

		if (!found)
			fail_msg("%s did not print '%s' then, but: %s", name, lines[i], at);
		else
			at = found + strlen(lines[i]);
	}
}

static void test_example(struct rig *r, const char *name, const char *const lines[])
{
	char out[OUTPUT_MAX];

	rig_start(r, NULL);
	run_example(r, name, out);
	expect_lines(name, out, lines);
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	assert_true(rig_ask_number(r, "status", "counters.allocs") > 0);
	rig_stop(r, false);
}

static void test_hello(void **state)
{
	char version[64];

	snprintf(version, sizeof(version), "librmem %s\n", rmem_version());
	test_example(*state, "01-hello",
		(const char *const[]){ version, "kept elsewhere\n", "elsewhere\n", NULL });
}

static void test_buffers(void **state)
{
	test_example(*state, "02-buffers",
		(const char *const[]){ "the first 16 cost 1240, then 616\n",
			" bytes went in place in ", " requests, 0 were copied\n", NULL });
}

static void test_atomics(void **state)
{
	test_example(
		*state, "03-atomics", (const char *const[]){ "counter 200, note 200\n", NULL });
}

static void test_queue(void **state)
{
	test_example(*state, "04-queue",
		(const char *const[]){ "2000 records found\n", "moved 700\n", NULL });
}

static void test_epoll(void **state)
{
	test_example(*state, "05-epoll",
		(const char *const[]){ "256 of 256 records came back, beside a timer\n", NULL });
}

static void test_threads(void **state)
{
	test_example(*state, "06-threads",
		(const char *const[]){ "6 threads made 3000 copies, 0 words are wrong\n", NULL });
}

static void test_errors(void **state)
{
	test_example(*state, "07-errors",
		(const char *const[]){ "EINVAL: an allocation of 0 bytes", "EFAULT: 16 bytes at 0x",
			" pass the end of the allocation of 4096 bytes",
			"EFAULT: 0x0 is not in any allocation of this session\n",
			"it must be a multiple of 8\n", "is inside the allocation at 0x",
			"was freed already or was never allocated\n",
			"the pool is full: ", "all as it should be\n", NULL });
}

static void test_sharing(void **state)
{
	test_example(*state, "08-sharing",
		(const char *const[]){ "the guest has read 'leave it as you found it'\n",
			"the host was here\n", "the guest was here\n", "2 visitors\n", NULL });
}

static void test_together(void **state)
{
	test_example(*state, "09-together",
		(const char *const[]){ "counter 60, note 60, 0 records torn\n", NULL });
}

static void test_events(void **state)
{
	test_example(*state, "10-events",
		(const char *const[]){
			"a read: ESTALE\n", "an allocation is gone: number ", ", at 0x9e", NULL });
}

static void test_operations(void **state)
{
	test_example(*state, "11-operations",
		(const char *const[]){ "3200 bytes, the last entry is 'log 0, entry 99'\n",
			"3200 bytes, the last entry is 'log 1, entry 99'\n", NULL });
}

static void test_copies(void **state)
{
	test_example(*state, "12-copies",
		(const char *const[]){
			"4194304 bytes, the first entry is 1, the last is empty\n", NULL });
}

static void test_handover(void **state)
{
	test_example(*state, "13-handover",
		(const char *const[]){ "made by one, kept by another\n", NULL });
}

static void test_growing(void **state)
{
	test_example(*state, "14-growing",
		(const char *const[]){
			"59 bytes: longer and longer and longer and longer and longer and long\n",
			NULL });
}

static void test_calls(void **state)
{
	test_example(*state, "15-calls", (const char *const[]){ "524288 bytes attached\n", NULL });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_hello),
		RIG_TEST(test_buffers),
		RIG_TEST(test_atomics),
		RIG_TEST(test_queue),
		RIG_TEST(test_epoll),
		RIG_TEST(test_threads),
		RIG_TEST(test_errors),
		RIG_TEST(test_sharing),
		RIG_TEST(test_together),
		RIG_TEST(test_events),
		RIG_TEST(test_operations),
		RIG_TEST(test_copies),
		RIG_TEST(test_handover),
		RIG_TEST(test_growing),
		RIG_TEST(test_calls),
	};

	return rig_main(RIG_PORT_EXAMPLES, tests, sizeof(tests) / sizeof(tests[0]));
}
