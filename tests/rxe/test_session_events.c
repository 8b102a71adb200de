/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program is told of its session, by rmem_event_fd() and rmem_next_event(), without a call that moves data; and what
 * it may do in the function that gets the log.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/rxe/lib.h"

#define BLOCK MIB
#define TIMEOUT_MS 4000

static const char *const patient[] = { "--ttl", "10m", NULL };
static const char *const some_time[] = { "--ttl", "8s", NULL };
static const char *const short_lease[] = { "--size", "0:4M", "--ttl", "3s", NULL };

static struct rmem *must_open(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = NULL;

	attr.timeout_ms = TIMEOUT_MS;
	lib_succeed(rmem_open(server, &attr, &rm));
	return rm;
}

static bool readable(int fd, int limit_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, limit_ms) == 1;
}

/* The next event: it is waited for as a loop would. */
static struct rmem_event await(struct rmem *rm, int fd)
{
	struct rmem_event event = RMEM_EVENT_INIT;

	if (!readable(fd, RIG_LIMIT_MS))
		fail_msg("nothing happens");
	assert_int_equal(rmem_next_event(rm, &event), 1);
	assert_int_equal(event.lost, 0);
	assert_true(event.time_ns > 0);
	return event;
}

static void expect(struct rmem *rm, int fd, enum rmem_event_kind kind)
{
	const struct rmem_event event = await(rm, fd);

	if (event.kind != kind)
		fail_msg("event %u instead of %d", event.kind, kind);
	assert_true(kind == RMEM_EVENT_REVOKED || (event.addr == 0 && event.serial == 0));
}

static void expect_none(struct rmem *rm, int fd)
{
	struct rmem_event event = RMEM_EVENT_INIT;

	assert_int_equal(rmem_next_event(rm, &event), 0);
	assert_false(readable(fd, 0));
}

static int open_fd(struct rmem *rm)
{
	int fd = rmem_event_fd(rm);

	assert_true(fd >= 0);
	return fd;
}

/* ---- the server ends, and comes back ---- */

static void test_gone(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addr;
	struct rmem *rm;
	int fd;

	rig_start(r, patient);
	rm = must_open(r->server);
	fd = open_fd(rm);
	assert_int_equal(rmem_event_fd(rm), fd);
	addr = lib_alloc(rm, BLOCK);
	expect_none(rm, fd);
	for (int round = 0; round < 2; round++) {
		rig_kill(r);
		expect(rm, fd, RMEM_EVENT_GONE);
		expect_none(rm, fd);
		rig_start(r, patient);
		expect(rm, fd, RMEM_EVENT_CONNECTED);
		expect_none(rm, fd);
	}
	lib_succeed(rmem_free(rm, addr));
	assert_int_equal(rmem_close(rm), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	rig_stop(r, false);
}

/* As long as it stays away the lease goes on, to its end. */
static void test_lease_ends(void **state)
{
	struct rig *r = *state;
	bool gone = false;
	struct rmem *rm;
	uint64_t late = 0;
	int fd;

	rig_start(r, some_time);
	rm = must_open(r->server);
	fd = open_fd(rm);
	rig_kill(r);
	for (;;) {
		const struct rmem_event event = await(rm, fd);

		if (event.kind == RMEM_EVENT_EXPIRED) {
			/* 45 % of the term lie between them. */
			assert_true(late && event.time_ns > late + 2000000000U);
			break;
		}
		if (event.kind == RMEM_EVENT_LATE && !late)
			late = event.time_ns;
		else if (event.kind == RMEM_EVENT_GONE && !gone)
			gone = true;
		else
			fail_msg("event %u", event.kind);
	}
	assert_true(gone);
	rig_start(r, some_time);
	expect(rm, fd, RMEM_EVENT_CONNECTED);
	assert_int_equal(rmem_close(rm), 0);
	rig_stop(r, false);
}

/* ---- the process stands still ---- */

/* It says what happens, until its input ends. */
static int watch(const char *port)
{
	char server[80];
	struct rmem *rm;
	int fd;

	snprintf(server, sizeof(server), "%s:%s", rig_host(), port);
	rm = must_open(server);
	for (unsigned i = 0; i < 2; i++)
		lib_alloc(rm, BLOCK);
	fd = open_fd(rm);
	if (write(STDOUT_FILENO, &(struct rmem_event)RMEM_EVENT_INIT, sizeof(struct rmem_event)) <
		0)
		return 1;
	for (;;) {
		struct pollfd p[] = { { STDIN_FILENO, POLLIN, 0 }, { fd, POLLIN, 0 } };
		struct rmem_event event = RMEM_EVENT_INIT;

		if (poll(p, 2, -1) < 0 || p[0].revents)
			return rmem_close(rm) != 0;
		while (rmem_next_event(rm, &event) == 1)
			if (write(STDOUT_FILENO, &event, sizeof(event)) != sizeof(event))
				return 1;
	}
}

struct watcher {
	struct process process;
	int input, output;
};

static struct rmem_event hear(const struct watcher *w)
{
	struct rmem_event event;

	if (!readable(w->output, RIG_LIMIT_MS))
		fail_msg("nothing happens");
	assert_int_equal(read(w->output, &event, sizeof(event)), sizeof(event));
	return event;
}

static void start_watcher(const struct rig *r, struct watcher *w)
{
	char port[8];
	const char *const argv[] = { "/proc/self/exe", "watch", port, NULL };
	int in[2], out[2];

	snprintf(port, sizeof(port), "%u", r->port);
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	process_start(&w->process, argv, (const int[]){ in[0], out[1], -1 });
	close(in[0]);
	close(out[1]);
	w->input = in[1];
	w->output = out[0];
	assert_int_equal(hear(w).kind, 0);
}

static void end_watcher(struct watcher *w)
{
	close(w->input);
	assert_int_equal(process_wait(&w->process, RIG_LIMIT_MS, "watcher"), 0);
	close(w->output);
}

/* Until its lease is over, and what it had can be lent to others. */
static void stop(struct rig *r, const struct watcher *w)
{
	siginfo_t info;

	process_signal(&w->process, SIGSTOP);
	assert_int_equal(
		waitid(P_PID, (id_t)w->process.pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
	rig_await_revoked(r, w->process.pid);
}

/* On a busy machine it may have been late before it was stopped. */
static void hear_expired(const struct watcher *w)
{
	struct rmem_event event;

	do
		event = hear(w);
	while (event.kind == RMEM_EVENT_LATE || event.kind == RMEM_EVENT_CONNECTED);
	assert_int_equal(event.kind, RMEM_EVENT_EXPIRED);
}

static void test_stopped(void **state)
{
	struct rig *r = *state;
	struct watcher w;
	struct rmem *rm;
	rmem_addr_t all;

	rig_start(r, short_lease);
	start_watcher(r, &w);
	stop(r, &w);
	process_signal(&w.process, SIGCONT);
	hear_expired(&w);
	assert_int_equal(hear(&w).kind, RMEM_EVENT_CONNECTED);
	stop(r, &w);
	rm = lib_open(r->server, 1);
	all = lib_alloc(rm, 4 * BLOCK);
	process_signal(&w.process, SIGCONT);
	hear_expired(&w);
	assert_int_equal(hear(&w).kind, RMEM_EVENT_RECLAIMED);
	assert_int_equal(hear(&w).kind, RMEM_EVENT_CONNECTED);
	lib_succeed(rmem_free(rm, all));
	assert_int_equal(rmem_close(rm), 0);
	end_watcher(&w);
	rig_stop(r, false);
}

/* ---- an allocation that another has shared ---- */

static uint64_t number_of(struct rig *r, rmem_addr_t addr)
{
	char request[80];

	snprintf(request, sizeof(request), "{\"cmd\":\"who-holds\",\"addr\":\"0x%" PRIx64 "\"}",
		addr);
	return (uint64_t)rig_ask_number(r, request, "allocation.id");
}

static void test_revoked(void **state)
{
	struct rig *r = *state;
	struct rmem_share_key key;
	struct rmem_event event;
	struct rmem *a, *b;
	rmem_addr_t addr;
	uint64_t number;
	int fd;

	rig_start(r, patient);
	a = must_open(r->server);
	b = must_open(r->server);
	fd = open_fd(b);
	addr = lib_alloc(a, BLOCK);
	number = number_of(r, addr);
	lib_succeed(rmem_share(a, addr, &key));
	lib_succeed(rmem_attach(b, addr, &key, NULL));
	lib_read_word(b, addr);
	lib_succeed(rmem_free(a, addr));
	expect_none(b, fd);
	for (unsigned i = 0; i < 2; i++)
		lib_expect(rmem_read(b, &number, addr + 8, 8), -ESTALE, "");
	event = await(b, fd);
	assert_int_equal(event.kind, RMEM_EVENT_REVOKED);
	assert_true(event.addr == addr);
	assert_true(event.serial == number);
	expect_none(b, fd);
	lib_succeed(rmem_detach(b, addr));
	assert_int_equal(rmem_close(b), 0);
	assert_int_equal(rmem_close(a), 0);
	rig_stop(r, false);
}

static void test_mistakes(void **state)
{
	struct rmem_event event = RMEM_EVENT_INIT;
	struct rig *r = *state;
	struct rmem *rm;

	assert_int_equal(rmem_event_fd(NULL), -EINVAL);
	assert_int_equal(rmem_next_event(NULL, &event), -EINVAL);
	rig_start(r, patient);
	rm = must_open(r->server);
	rig_kill(r);
	/* Whoever asks late misses nothing, and what is refused takes nothing. */
	assert_true(readable(open_fd(rm), RIG_LIMIT_MS));
	assert_int_equal(rmem_next_event(rm, NULL), -EINVAL);
	event.size = sizeof(event) - 1;
	lib_expect(rmem_next_event(rm, &event), -EINVAL, "initializer");
	event.size = sizeof(event);
	assert_int_equal(rmem_next_event(rm, &event), 1);
	assert_int_equal(event.kind, RMEM_EVENT_GONE);
	assert_int_equal(event.size, sizeof(event));
	rig_start(r, patient);
	assert_int_equal(rmem_close(rm), 0);
	rig_stop(r, false);
}

/* ---- the function that gets the log ---- */

static struct {
	struct rmem *rm; /* to be used and closed by the next line */
	rmem_addr_t addr;
	sem_t closed;
	int rc;
} logged;

/* It is under no lock of the library, so any call works. It runs in a thread in which no check can fail the test. */
static void close_session(void *user, int level, const char *text)
{
	struct rmem *rm = logged.rm;
	uint64_t word;

	(void)user;
	(void)level;
	(void)text;
	if (!rm)
		return; /* a line about what is done here */
	logged.rm = NULL;
	logged.rc = rmem_read(rm, &word, logged.addr, sizeof(word));
	if (logged.rc == 0)
		logged.rc = rmem_free(rm, logged.addr);
	if (logged.rc == 0)
		logged.rc = rmem_close(rm);
	sem_post(&logged.closed);
}

static void test_log_closes(void **state)
{
	struct rig *r = *state;
	struct timespec limit;

	rig_start(r, patient);
	logged.rm = must_open(r->server);
	logged.addr = lib_alloc(logged.rm, BLOCK);
	sem_init(&logged.closed, 0, 0);
	lib_succeed(rmem_set_log(RMEM_LOG_INFO, close_session, NULL));
	assert_int_equal(rmem_open(NULL, NULL, NULL), -EINVAL);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += RIG_LIMIT_MS / 1000;
	assert_int_equal(sem_timedwait(&logged.closed, &limit), 0);
	assert_int_equal(logged.rc, 0);
	lib_succeed(rmem_set_log(0, NULL, NULL));
	rig_await_no_session(r);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_gone),
		RIG_TEST(test_lease_ends),
		RIG_TEST(test_stopped),
		RIG_TEST(test_revoked),
		RIG_TEST(test_mistakes),
		RIG_TEST(test_log_closes),
	};

	if (argc == 3 && strcmp(argv[1], "watch") == 0)
		return watch(argv[2]);
	return rig_main(RIG_PORT_EVENTS, tests, sizeof(tests) / sizeof(tests[0]));
}
