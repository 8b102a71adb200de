/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process may not do any more: send what it has started, when its lease is over; send anything, when it
 * has become another user (soft-RoCE). This program runs itself in a role, because a whole process is stopped, or
 * changed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/rig.h"

#define NOBODY 65534
#define TIMEOUT_MS 6000
#define SLACK_MS 20000
#define ROUNDS 5

enum { POSTED = 10, ALLOWED = 11 };

/* ---- past the lease ---- */

static uint64_t doorbells(struct rmem *rm)
{
	struct rmem_stats stats = RMEM_STATS_INIT;

	lib_succeed(rmem_stats(rm, &stats));
	return stats.doorbells;
}

/* Stands still between start and submit: is anything posted then? */
static int be_late(const char *server)
{
	struct rmem *rm = lib_open(server, 0);
	rmem_addr_t addr = lib_alloc(rm, 64);
	struct rmem_queue *q = lib_queue(rm, 4);
	struct rmem_completion done;
	uint64_t word = 1, before, after;

	lib_succeed(rmem_start_write(q, addr, &word, sizeof(word), 1));
	if (rmem_reap(q, &done, 1, -1) != 1 || done.status)
		return 1;
	word = 2;
	lib_succeed(rmem_start_write(q, addr, &word, sizeof(word), 2));
	before = doorbells(rm);
	raise(SIGSTOP);
	lib_succeed(rmem_submit(q));
	after = doorbells(rm);
	/* It is done all the same, when the lease is good again: nobody has taken the memory. */
	if (rmem_reap(q, &done, 1, -1) != 1 || done.status || lib_read_word(rm, addr) != 2)
		return 2;
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	return after == before ? 0 : POSTED;
}

static bool is_over(const json_t *sessions, void *arg)
{
	const json_t *session = rig_session(sessions, *(pid_t *)arg);

	return session && strcmp(rig_text(session, "state"), "detached") == 0;
}

/*
 * Its keeper renews the lease as soon as it runs again, so now and then that comes first, and it may post. Not
 * each time.
 */
static void test_submit_past_the_lease(void **state)
{
	struct rig *r = *state;
	const char *const argv[] = { "/proc/self/exe", "late", r->server, NULL };
	int status = POSTED;

	rig_start(r, (const char *const[]){ "--size", "16M", "--ttl", "3s", NULL });
	for (int i = 0; i < ROUNDS && status == POSTED; i++) {
		struct process late;
		siginfo_t info;

		process_start(&late, argv, (const int[]){ -1, -1, -1 });
		assert_int_equal(waitid(P_PID, (id_t)late.pid, &info, WSTOPPED | WEXITED), 0);
		assert_int_equal(info.si_code, CLD_STOPPED);
		json_decref(rig_await(r, "sessions", is_over, &late.pid, "its lease is over"));
		process_signal(&late, SIGCONT);
		status = WEXITSTATUS(process_wait(&late, RIG_LIMIT_MS, "late client"));
	}
	assert_int_equal(status, 0);
	rig_stop(r, false);
}

/* ---- another user ---- */

static bool is_told(int rc)
{
	if (rc == -EPERM && strstr(rmem_errmsg(), "credentials"))
		return true;
	fprintf(stderr, "%d: %s\n", rc, rmem_errmsg());
	return false;
}

/* What a queue says of a write: at once, if its connection has ended already and cannot be made again. */
static int start_and_reap(struct rmem_queue *q, rmem_addr_t addr)
{
	static const uint64_t word = 1;
	struct rmem_completion done = { 0 };
	int rc = rmem_start_write(q, addr, &word, sizeof(word), 1);

	if (rc == 0 && rmem_reap(q, &done, 1, -1) != 1)
		return 0;
	return rc ? rc : done.status;
}

static int be_other(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem_completion done = { 0 };
	uint64_t word = 1, began;
	struct rmem_queue *q;
	struct rmem *rm;
	rmem_addr_t addr;

	attr.timeout_ms = TIMEOUT_MS;
	lib_succeed(rmem_open(server, &attr, &rm));
	addr = lib_alloc(rm, 64);
	lib_succeed(rmem_write(rm, addr, &word, sizeof(word)));
	q = lib_queue(rm, 4);
	lib_succeed(rmem_start_write(q, addr, &word, sizeof(word), 1));
	if (rmem_reap(q, &done, 1, -1) != 1)
		return 1;
	if (setuid(NOBODY))
		return 2;
	if (rmem_write(rm, addr, &word, sizeof(word)) == 0)
		return ALLOWED;
	if (!is_told(rmem_write(rm, addr, &word, sizeof(word))))
		return 3;
	if (!is_told(start_and_reap(q, addr)))
		return 4;
	if (!is_told(rmem_alloc(rm, 64, NULL, &addr)) ||
		!is_told(rmem_fetch_add(rm, addr, 1, NULL)))
		return 5;
	began = clock_boot_ns();
	if (!is_told(rmem_close(rm)))
		return 6;
	return clock_boot_ns() - began > (TIMEOUT_MS + SLACK_MS) * NSEC_PER_MSEC ? 7 : 0;
}

static void test_another_user(void **state)
{
	struct rig *r = *state;
	const char *const argv[] = { "/proc/self/exe", "other", r->server, NULL };
	struct process other;
	int status;

	rig_start(r, NULL);
	process_start(&other, argv, (const int[]){ -1, -1, -1 });
	status = WEXITSTATUS(process_wait(&other, RIG_LIMIT_MS, "client of another user"));
	if (status == ALLOWED)
		printf("this device lets other users go on\n");
	else
		assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_submit_past_the_lease),
		RIG_TEST(test_another_user),
	};

	if (argc == 3 && strcmp(argv[1], "late") == 0)
		return be_late(argv[2]);
	if (argc == 3 && strcmp(argv[1], "other") == 0)
		return be_other(argv[2]);
	return rig_main(RIG_PORT_LOST_RIGHTS, tests, sizeof(tests) / sizeof(tests[0]));
}
