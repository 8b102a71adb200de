/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions as the public header has them, sentence by sentence: open, close, fork; and servers that are none, or
 * of another version. Where nobody is at all: test_client_errors.c.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rxe/impostor.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/raw.h"

/* ---- open and close ---- */

static void test_open_and_close(void **state)
{
	struct rmem *rm = NULL, *other = NULL, *untouched = (struct rmem *)state;
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rig *r = *state;
	const json_t *mine;
	json_t *sessions;
	char here[32];

	rig_start(r, NULL);
	assert_string_equal(rmem_errmsg(), ""); /* before the first failure */
	assert_true(strlen(rmem_version()) >= 5);
	lib_succeed(rmem_close(NULL));
	attr.timeout_ms = RIG_LIMIT_MS;
	attr.job = "etl-992";
	lib_succeed(rmem_open(r->server, &attr, &rm));
	sessions = rig_ask(r, "sessions");
	mine = rig_session(sessions, getpid());
	assert_non_null(mine);
	assert_string_equal(rig_text(mine, "job"), "etl-992");
	assert_string_equal(rig_text(mine, "state"), "connected");
	assert_non_null(strstr(rig_text(mine, "exe"), "test_open"));
	json_decref(sessions);
	snprintf(here, sizeof(here), "localhost:%u", r->port);
	other = lib_open(here, 0);
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 2);
	lib_succeed(rmem_close(other));
	lib_succeed(rmem_close(rm));

	/* NULL means $RMEM_SERVER. */
	setenv("RMEM_SERVER", r->server, 1);
	rm = lib_open(NULL, 0);
	lib_succeed(rmem_close(rm));
	unsetenv("RMEM_SERVER");

	attr.device = "nosuch0";
	lib_expect(rmem_open(r->server, &attr, &untouched), -ENODEV, "nosuch0");
	attr.device = NULL;
	attr.timeout_ms = -1;
	lib_expect(rmem_open(r->server, &attr, &untouched), -EINVAL, "timeout");
	attr = (struct rmem_open_attr){ .size = 0 };
	lib_expect(rmem_open(r->server, &attr, &untouched), -EINVAL, "size");
	lib_expect(rmem_open(r->server, NULL, NULL), -EINVAL, "out");
	assert_ptr_equal(untouched, state);
	rig_stop(r, false);
}

static void test_wrong_server_text(void **state)
{
	static const char *const wrong[] = { "host:", "host:0", "host:65536", "host:x", "[::1",
		"[::1]x", "::1:7471", ":7471", "a host", "a/b" };
	struct rmem *untouched = (struct rmem *)state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		lib_expect(rmem_open(wrong[i], NULL, &untouched), -EINVAL, "");
	assert_ptr_equal(untouched, state);
}

/*
 * A server that does not answer is asked more than once. When it goes on, what was given up costs it nothing:
 * not a connection, not a line in its log.
 */
static void test_given_up(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *untouched = (struct rmem *)state, *rm;
	struct rig *r = *state;

	rig_start(r, (const char *const[]){ "--log-level", "debug", NULL });
	rig_freeze(r);
	attr.timeout_ms = 5000; /* time enough to ask, and to ask again */
	lib_expect(rmem_open(r->server, &attr, &untouched), -ETIMEDOUT, "is rmemd running there");
	assert_ptr_equal(untouched, state);
	rig_thaw(r);
	rm = lib_open(r->server, 0); /* answered after those before it */
	assert_true(rig_log_says(r, "gave up before it was accepted"));
	assert_false(rig_log_says(r, "turned away"));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_close_frees_nothing(void **state)
{
	struct rig *r = *state;
	struct rmem *rm;
	json_t *leaks;

	rig_start(r, (const char *const[]){ "--reclaim", "never", NULL });
	rm = lib_open(r->server, 0);
	lib_alloc(rm, 5000);
	lib_alloc(rm, 1);
	lib_succeed(rmem_close(rm));
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 2);
	assert_int_equal(rig_number(leaks, "summary.definite.bytes"), 5001);
	assert_string_equal(rig_text(leaks, "records.0.holders.0.state"), "closed");
	rig_assert_accounted(leaks);
	json_decref(leaks);
	rig_stop(r, true);
}

static int use_in_child(struct rmem *rm, rmem_addr_t addr)
{
	rmem_addr_t other;
	char byte;

	if (rmem_alloc(rm, 1, NULL, &other) != -EPERM || !strstr(rmem_errmsg(), "fork"))
		return 1;
	if (rmem_read(rm, &byte, addr, 1) != -EPERM || rmem_write(rm, addr, "x", 1) != -EPERM)
		return 2;
	if (rmem_free(rm, addr) != -EPERM)
		return 3;
	return rmem_close(rm) == 0 ? 0 : 4;
}

/* Without the handlers of pthread_atfork(), and those of the C library too. */
static pid_t fork_bare(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* Whose locks may have been taken by a thread of the parent: nothing that allocates. */
static int copy_in_child(struct rmem *rm, struct rmem_queue *q, rmem_addr_t addr)
{
	char byte;

	if (rmem_read(rm, &byte, addr, 1) != -EPERM || rmem_write(rm, addr, "x", 1) != -EPERM)
		return 2;
	if (!strstr(rmem_errmsg(), "fork"))
		return 3;
	if (rmem_start_write(q, addr, "x", 1, 0) != -EPERM || rmem_submit(q) != -EPERM)
		return 4;
	return 0;
}

static void use_in_children(struct rmem *rm, struct rmem_queue *q, rmem_addr_t addr)
{
	static pid_t (*const ways[])(void) = { fork, _Fork, fork_bare };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int status;
		pid_t pid;

		lib_check(rm, addr, 100, 0); /* the shortest way of a copy is open now */
		pid = ways[i]();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(ways[i] == fork ? use_in_child(rm, addr)
					      : copy_in_child(rm, q, addr));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		/* The parent's session is as it was. */
		lib_check(rm, addr, 100, 0);
	}
}

static void test_fork(void **state)
{
	struct rig *r = *state;
	struct rmem_queue *q;
	struct rmem *rm;
	rmem_addr_t addr;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 100);
	q = lib_queue(rm, 0);
	lib_expect(
		rmem_write(rm, 0, "x", 1), -EFAULT, ""); /* a thread's first sentence allocates */
	use_in_children(rm, q, addr);
	rmem_queue_destroy(q);
	lib_succeed(rmem_free(rm, addr));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- others than our rmemd ---- */

static uint8_t preamble_bytes[PREAMBLE_SIZE];

static void make_preamble(uint32_t magic, uint16_t version, int32_t status)
{
	const struct preamble p = {
		.magic = magic, .version = version, .purpose = PURPOSE_SESSION, .status = status
	};
	struct wire w = wire_over(preamble_bytes, sizeof(preamble_bytes));

	preamble_put(&w, &p);
	assert_false(w.failed);
}

static void meet_impostor(const struct impostor_manner *manner, int wanted, const char *mention)
{
	struct impostor *i = impostor_start(RIG_PORT_IMPOSTOR, manner);
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *untouched = (struct rmem *)i;
	char server[80];

	attr.timeout_ms = RIG_LIMIT_MS; /* it is not for time that it fails */
	snprintf(server, sizeof(server), "%s:%d", rig_host(), RIG_PORT_IMPOSTOR);
	lib_expect(rmem_open(server, &attr, &untouched), wanted, mention);
	assert_ptr_equal(untouched, i);
	assert_true(impostor_stop(i) > 0);
}

static void test_not_rmemd(void **state)
{
	static const char nonsense[] = "SSH-2.0-OpenSSH, or something";

	(void)state;
	meet_impostor(&(struct impostor_manner){ .accepts = true }, -EPROTO, "not rmemd");
	meet_impostor(
		&(struct impostor_manner){
			.accepts = true, .data = nonsense, .data_bytes = sizeof(nonsense) },
		-EPROTO, "not rmemd");
	/* As the kernel does for a process that has ended: who it was, nobody knows. */
	meet_impostor(&(struct impostor_manner){ .accepts = false }, -ECONNRESET, "try again");
	meet_impostor(&(struct impostor_manner){ .vanishes = true }, -ECONNRESET, "try again");
	meet_impostor(
		&(struct impostor_manner){
			.accepts = false, .data = nonsense, .data_bytes = sizeof(nonsense) },
		-EPROTO, "not rmemd");
}

static void test_server_of_another_version(void **state)
{
	const struct impostor_manner accepts = {
		.accepts = true, .data = preamble_bytes, .data_bytes = PREAMBLE_SIZE
	};
	const struct impostor_manner rejects = {
		.accepts = false, .data = preamble_bytes, .data_bytes = PREAMBLE_SIZE
	};

	(void)state;
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, 0);
	meet_impostor(&accepts, -EPROTO, "speaks protocol version");
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, -EPROTONOSUPPORT);
	meet_impostor(&rejects, -EPROTO, "speaks protocol version");
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION, -EUSERS);
	meet_impostor(&rejects, -EUSERS, "all the clients");
}

static void test_client_of_another_version(void **state)
{
	struct rig *r = *state;
	struct raw_attr attr = { .private_data = preamble_bytes,
		.private_data_len = sizeof(preamble_bytes) };
	struct raw *raw = NULL;
	struct rmem *rm;

	rig_start(r, NULL);
	make_preamble(PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, 0);
	assert_int_equal(raw_connect(r->port, &attr, &raw), -ECONNREFUSED);
	assert_true(raw->has_answer);
	assert_int_equal(raw->answer.magic, PROTOCOL_MAGIC);
	assert_int_equal(raw->answer.version, PROTOCOL_VERSION);
	assert_int_equal(raw->answer.status, -EPROTONOSUPPORT);
	raw_close(raw);
	/* Who can talk to it still can. */
	rm = lib_open(r->server, 0);
	lib_succeed(rmem_close(rm));
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 0);
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_open_and_close), /* first: no call has failed yet */
		RIG_TEST(test_wrong_server_text),
		RIG_TEST(test_given_up),
		RIG_TEST(test_close_frees_nothing),
		RIG_TEST(test_fork),
		RIG_TEST(test_not_rmemd),
		RIG_TEST(test_server_of_another_version),
		RIG_TEST(test_client_of_another_version),
	};

	return rig_main(RIG_PORT_OPEN, tests, sizeof(tests) / sizeof(tests[0]));
}
