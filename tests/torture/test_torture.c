/* SPDX-License-Identifier: BSD-3-Clause */
/* That the torture finds what it is made for, and nothing where nothing is: with a library that has a flaw. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/torture/board.h"
#include "tests/torture/client.h"
#include "tests/torture/flawed.h"
#include "tests/torture/heart.h"

#define LIMIT_MS 90000
#define SLACK_MS "500"

static char path[] = "/tmp/rmem-torture-XXXXXX";

static uint64_t count(enum board_event e)
{
	return atomic_load(&board->counts.events[e]);
}

static pid_t start_client(enum flaw flaw)
{
	const char *argv[] = { "torture", "client", path, "nowhere", "1", "7", SLACK_MS, NULL };
	pid_t pid;

	memset((void *)&board->counts, 0, sizeof(board->counts));
	atomic_store(&board->calm, 0);
	atomic_store(&board->nslots, 0);
	pid = fork();
	if (pid)
		return pid;
	freopen("/dev/null", "w", stderr);
	flawed_choose(flaw);
	_exit(client_main(7, argv));
}

/* A client works until an event was counted so often; then all is calm, and it ends. */
static void work(enum flaw flaw, enum board_event e, uint64_t times)
{
	int64_t limit = heart_now() + LIMIT_MS * 1000000LL;
	pid_t pid = start_client(flaw);
	int status = -1;

	assert_true(pid > 0);
	while (count(e) < times && heart_now() < limit)
		heart_pause(10);
	atomic_store(&board->calm, 1);
	if (flaw != FLAW_NONE) /* what comes of it later is not asked */
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(count(e) >= times);
	assert_true(flaw != FLAW_NONE || status == 0);
}

static void test_sound(void **state)
{
	(void)state;
	work(FLAW_NONE, EVENT_LOST_REFUSED, 200);
	assert_true(count(EVENT_FREES_IN_FLIGHT) > 0);
	assert_true(count(EVENT_FREED_REFUSED) > 0);
	assert_true(count(EVENT_FREE_UNSURE) > 0);
	assert_true(count(EVENT_UNCERTAIN) > 0);
	assert_true(count(EVENT_REUSED) > 0);
	assert_int_equal(count(EVENT_WRONG_BYTES), 0);
	assert_int_equal(count(EVENT_WRONG_RESULT), 0);
	assert_int_equal(count(EVENT_ALIAS), 0);
	assert_int_equal(count(EVENT_STUCK), 0);
}

static void test_alias(void **state)
{
	(void)state;
	work(FLAW_ALIAS, EVENT_ALIAS, 1);
	work(FLAW_ALIAS, EVENT_WRONG_BYTES, 1);
}

static void test_in_flight(void **state)
{
	(void)state;
	work(FLAW_IN_FLIGHT, EVENT_WRONG_BYTES, 1);
}

static void test_bytes(void **state)
{
	(void)state;
	work(FLAW_ADD_TWICE, EVENT_WRONG_BYTES, 1);
	work(FLAW_WRITE_LOST, EVENT_WRONG_BYTES, 1);
	work(FLAW_NOT_WIPED, EVENT_WRONG_BYTES, 1);
}

static void test_revived(void **state)
{
	(void)state;
	work(FLAW_REVIVED, EVENT_WRONG_RESULT, 1);
}

static void test_late(void **state)
{
	(void)state;
	work(FLAW_LATE, EVENT_OVER, 1);
}

static int make_board(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	return board_open(path, 1);
}

static int remove_board(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_in_flight),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_revived),
		cmocka_unit_test(test_late),
	};

	return cmocka_run_group_tests(tests, make_board, remove_board);
}
