/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbered programs in examples/ do what they say, and leave nothing behind. */
#include "tests/rxe/rig.h"

#include <sys/wait.h>

static void run_example(struct rig *r, const char *name)
{
	const char *const argv[] = { name, r->server, NULL };
	struct process example;
	int status;

	rig_start(r, NULL);
	process_start(&example, argv, (const int[]){ -1, -1, -1 });
	status = process_wait(&example, RIG_LIMIT_MS, name);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s ended with status 0x%x", name, (unsigned)status);
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	assert_true(rig_ask_number(r, "status", "counters.allocs") > 0);
	rig_stop(r, false);
}

static void test_buffers(void **state)
{
	run_example(*state, BIN_DIR "/02-buffers");
}

static void test_atomics(void **state)
{
	run_example(*state, BIN_DIR "/03-atomics");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_buffers),
		RIG_TEST(test_atomics),
	};

	return rig_main(RIG_PORT_EXAMPLES, tests, sizeof(tests) / sizeof(tests[0]));
}
