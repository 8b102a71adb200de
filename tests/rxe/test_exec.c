/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that executes another program: pid and start time stay, and what it held is lost. That is known within
 * the grace, also if rmemd was not there when it happened, or a child of the client lives on.
 */
#include "tests/rxe/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/process.h"

#define BLOCK (64 * KIB)
#define HELD 3

/* Nothing here ends by itself while a test looks: the courtesy is a day, the lease ten minutes. */
static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
/* With a child that has the devices' descriptors too, the connection ends with the lease only. */
static const char *const options_short[] = { "--size", "16M", "--ttl", "3s", NULL };

struct image {
	struct process process;
	int input; /* closed: it executes */
};

/* ---- the client ---- */

static int role(int argc, char **argv)
{
	static const char said = 1;
	char server[80];
	struct rmem *rm;

	if (argc < 3)
		return 1;
	snprintf(server, sizeof(server), "%s:%s", rig_host(), argv[2]);
	rm = lib_open(server, 1);
	for (unsigned i = 0; i < HELD; i++)
		lib_alloc(rm, BLOCK);
	if (strcmp(argv[1], "parent") == 0 && fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	process_speak(&said, sizeof(said));
	execlp("sleep", "sleep", "1000", NULL);
	return 1;
}

/* ---- the tests ---- */

static void start(struct rig *r, struct image *image, const char *name)
{
	char said;

	process_start_speaker(&image->process, name, r->port, &said, sizeof(said), &image->input);
}

static bool is_lost(const json_t *leaks, void *arg)
{
	return rig_number(leaks, "summary.definite.blocks") == *(long long *)arg;
}

static void await_lost(struct rig *r, long long blocks)
{
	json_decref(rig_await(r, "leaks", is_lost, &blocks, "what it held is definitely lost"));
}

static void check_let_go(struct rig *r, const struct image *image)
{
	json_t *sessions = rig_ask(r, "sessions");
	const json_t *session = rig_session(sessions, image->process.pid);

	assert_non_null(session);
	assert_string_equal(rig_text(session, "state"), "dead");
	assert_string_equal(rig_text(session, "evidence"), "let-go");
	assert_int_equal(kill(image->process.pid, 0), 0); /* it lives */
	json_decref(sessions);
}

static void test_exec(void **state)
{
	struct image image, other;
	struct rig *r = *state;
	json_t *leaks;

	rig_start(r, options);
	start(r, &image, "image");
	start(r, &other, "image");
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), 2 * HELD);
	json_decref(leaks);
	close(image.input);
	await_lost(r, HELD);
	check_let_go(r, &image);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.reachable.blocks"), HELD);
	json_decref(leaks);
	process_end(&image.process);
	process_end(&other.process);
	close(other.input);
	await_lost(r, 2 * HELD);
	rig_stop(r, true);
}

static void test_exec_with_a_child(void **state)
{
	struct rig *r = *state;
	struct image image;

	rig_start(r, options_short);
	start(r, &image, "parent");
	close(image.input);
	await_lost(r, HELD);
	check_let_go(r, &image);
	process_end(&image.process);
	rig_stop(r, true);
}

/* It executes while rmemd is not there. Who does not, and only waits for rmemd, is not dead. */
static void test_exec_between_runs(void **state)
{
	struct image image, other;
	struct rig *r = *state;

	rig_start(r, options);
	start(r, &image, "image");
	start(r, &other, "image");
	rig_kill(r);
	process_signal(&other.process, SIGSTOP);
	close(image.input);
	rig_start(r, options);
	await_lost(r, HELD);
	check_let_go(r, &image);
	process_end(&image.process);
	process_end(&other.process);
	close(other.input);
	await_lost(r, 2 * HELD);
	rig_stop(r, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_exec),
		RIG_TEST(test_exec_with_a_child),
		RIG_TEST(test_exec_between_runs),
	};

	if (argc > 1)
		return role(argc, argv);
	return rig_main(RIG_PORT_EXEC, tests, sizeof(tests) / sizeof(tests[0]));
}
