/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reports over RDMA: the same as on the admin socket, however long, for somebody without a session. And what operators
 * order, on the socket only.
 */
#include "tests/rxe/rig.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"

#define BLOCKS 60 /* (as test_timed_audits() knows) enough for a report of several messages */
#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct rig_output here, there;

static struct client *start_holder(struct rig *r)
{
	struct client_work work = {
		.seed = 9, .max_held = BLOCKS, .max_bytes = 9000, .idles = true
	};
	struct client *c = client_start_worker(r->server, &work);

	while (c->nheld < BLOCKS)
		client_await_calls(c, c->calls + 1);
	return c;
}

static json_t *parse(const char *text)
{
	json_t *report = json_loads(text, 0, NULL);

	assert_non_null(report);
	return report;
}

/* Of what does not change from one moment to the next: the blocks and who has them. */
static void test_map_is_the_same(void **state)
{
	struct rig *r = *state;
	struct client *c;
	json_t *a, *b, *block;
	size_t i;

	rig_start(r, NULL);
	c = start_holder(r);
	rig_ctl(r, ARGUMENTS("map", "--json"), &here);
	rig_ctl_remote(r, ARGUMENTS("map", "--json"), &there);
	assert_int_equal(here.status, 0);
	assert_string_equal(there.err, "");
	assert_int_equal(there.status, 0);
	a = parse(here.out);
	b = parse(there.out);
	assert_int_equal(rig_number(b, "blocks_total"), BLOCKS);
	assert_true(strlen(there.out) > 8192);
	json_array_foreach(json_object_get(a, "blocks"), i, block)
	{
		const json_t *other = json_array_get(json_object_get(b, "blocks"), i);

		assert_string_equal(rig_text(block, "addr"), rig_text(other, "addr"));
		assert_int_equal(rig_number(block, "bytes"), rig_number(other, "bytes"));
		assert_int_equal(rig_number(other, "pid"), c->pid);
	}
	assert_int_equal(i, BLOCKS);
	json_decref(a);
	json_decref(b);
	client_finish(c);
	rig_stop(r, false);
}

static void test_every_report(void **state)
{
	static const char *const reports[] = { "status", "leaks", "sessions", "map" };
	struct rig *r = *state;
	struct client *c;
	char who[32], addr[32];

	rig_start(r, NULL);
	c = start_holder(r);
	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
		rig_ctl(r, ARGUMENTS(reports[i]), &here);
		rig_ctl_remote(r, ARGUMENTS(reports[i]), &there);
		assert_string_equal(there.err, "");
		assert_int_equal(here.status, 0);
		assert_int_equal(there.status, 0);
		assert_int_equal(strcspn(here.out, " \n"), strcspn(there.out, " \n"));
	}
	snprintf(addr, sizeof(addr), "0x%" PRIx64, c->held[0].addr + c->held[0].bytes - 1);
	snprintf(who, sizeof(who), "[%d]", (int)c->pid);
	rig_ctl_remote(r, ARGUMENTS("who-holds", addr), &there);
	assert_int_equal(there.status, 0);
	assert_non_null(strstr(there.out, who));
	assert_non_null(strstr(there.out, "role.c"));
	client_kill(c);
	rig_await_dead(r, c->pid);
	rig_ctl_remote(r, ARGUMENTS("leaks", "--audit"), &there);
	assert_int_equal(there.status, 1);
	assert_non_null(strstr(there.out, who));
	rig_stop(r, true);
}

/* Asking takes nothing and leaves nothing. */
static void test_observers_leave_no_trace(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	for (int i = 0; i < 20; i++) {
		rig_ctl_remote(r, ARGUMENTS("sessions"), &there);
		assert_int_equal(there.status, 0);
		assert_string_equal(there.out, "no sessions\n");
	}
	rig_stop(r, false);
}

static void test_errors(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	rig_ctl_remote(r, ARGUMENTS("who-holds", "0x9e00000000001000"), &there);
	assert_int_equal(there.status, 1);
	assert_string_equal(there.out, "nobody holds 0x9e00000000001000: it is free\n");
	assert_string_equal(there.err, "");
	rig_ctl_remote(r, ARGUMENTS("who-holds", "0x9e01000000001000"), &there);
	assert_int_equal(there.status, 3);
	assert_string_equal(there.out, "");
	assert_non_null(strstr(there.err, "is outside of the pool"));
	rig_freeze(r);
	rig_ctl_remote(r, ARGUMENTS("leaks", "--audit", "--timeout", "300ms"), &there);
	assert_int_equal(there.status, 3);
	assert_string_equal(there.out, "");
	rig_thaw(r);
	rig_ctl_remote(r, ARGUMENTS("leaks", "--audit"), &there);
	assert_int_equal(there.status, 0);
	rig_stop(r, false);
	rig_ctl_remote(r, ARGUMENTS("leaks", "--audit"), &there);
	assert_int_equal(there.status, 3);
	assert_non_null(strstr(there.err, "nobody listens"));
	assert_string_equal(there.out, "");
}

static bool has_audited(const json_t *status, void *arg)
{
	return rig_number(status, "audits") >= *(long long *)arg;
}

/* Audits are made when nobody asks for one, and log what is lost. */
static void test_timed_audits(void **state)
{
	const char *const options[] = { "--reclaim", "never", "--audit-interval", "300ms", NULL };
	struct rig *r = *state;
	long long audits = 3;
	struct client *c;

	rig_start(r, options);
	c = start_holder(r);
	client_kill(c);
	rig_await_dead(r, c->pid);
	audits += rig_ask_number(r, "status", "audits");
	json_decref(rig_await(r, "status", has_audited, &audits, "three audits"));
	assert_true(rig_log_says(r, "in 60 allocations definitely lost"));
	assert_false(rig_log_says(r, "UNACCOUNTED"));
	rig_stop(r, true);
}

/* leaks shows the last audit, however old, until one is asked for; the first time there is none. */
static void test_last_audit(void **state)
{
	const char *const options[] = { "--reclaim", "never", "--audit-interval", "0", NULL };
	struct rig *r = *state;
	struct client *c;

	rig_start(r, options);
	rig_ctl(r, ARGUMENTS("leaks"), &here);
	assert_int_equal(here.status, 0);
	assert_non_null(strstr(here.out, "audit was made now: there was none before\n"));
	c = start_holder(r);
	client_kill(c);
	rig_await_dead(r, c->pid);
	rig_ctl_remote(r, ARGUMENTS("leaks"), &there);
	assert_int_equal(there.status, 0);
	assert_non_null(strstr(there.out, "ago (--audit makes one now)\n"));
	assert_int_equal(
		rig_ask_number(r, "{\"cmd\":\"leaks\",\"audit\":\"last\"}", "audit.serial"), 1);
	rig_ctl(r, ARGUMENTS("leaks", "--audit"), &here);
	assert_int_equal(here.status, 1);
	assert_null(strstr(here.out, "audit was made"));
	rig_ctl(r, ARGUMENTS("leaks"), &here);
	assert_int_equal(here.status, 1);
	assert_non_null(strstr(here.out, "in 60 blocks definitely lost"));
	assert_int_equal(
		rig_ask_number(r, "{\"cmd\":\"leaks\",\"audit\":\"last\"}", "audit.serial"), 2);
	rig_stop(r, true);
}

/* ---- orders ---- */

#define SEED 77

static struct client *start_puppet(struct rig *r, uint64_t *out_addr, uint64_t bytes)
{
	struct client *c = client_start_puppet(r->server, 3000);

	client_open(c);
	*out_addr = client_alloc(c, bytes, -1);
	client_fill(c, *out_addr, bytes, SEED);
	return c;
}

static int try_check(struct client *c, uint64_t addr, uint64_t bytes)
{
	const struct client_order order = {
		.call = CLIENT_CHECK, .addr = addr, .bytes = bytes, .seed = SEED
	};

	return client_do(c, &order)->err;
}

static int try_free(struct client *c, uint64_t addr)
{
	return client_do(c, &(struct client_order){ .call = CLIENT_FREE, .addr = addr })->err;
}

static bool holds_blocks(const json_t *status, void *arg)
{
	return rig_number(status, "allocations.blocks") == *(long long *)arg;
}

/* What was taken is wiped and can be lent, nothing is missing, and so many blocks are left. */
static void assert_taken(struct rig *r, long long left)
{
	json_decref(rig_await(r, "status", holds_blocks, &left, "what was taken to be free"));
	rig_await_wiped(r);
	rig_assert_well(r);
}

/* An order on this rmemd's socket, which must be carried out: its answer. */
static json_t *order(struct rig *r, const char *what, const char *whom)
{
	rig_ctl(r, ARGUMENTS(what, "--yes", "--json", whom), &here);
	assert_string_equal(here.err, "");
	assert_int_equal(here.status, 0);
	return parse(here.out);
}

static void assert_lost(const json_t *answer, long long sessions, long long blocks, long long bytes)
{
	assert_false(rig_number(answer, "preview"));
	assert_int_equal(rig_number(answer, "sessions_total"), sessions);
	assert_int_equal(rig_number(answer, "blocks"), blocks);
	assert_int_equal(rig_number(answer, "bytes"), bytes);
}

/* Its client lives, and has lost everything at once; nobody else notices. */
static void test_evict(void **state)
{
	struct rig *r = *state;
	struct client *victim, *other;
	uint64_t lost, kept, later;
	json_t *sessions, *answer;
	char id[33], digits[9], wrong[10];

	rig_start(r, NULL);
	victim = start_puppet(r, &lost, 5000);
	other = start_puppet(r, &kept, 3000);
	sessions = rig_ask(r, "sessions");
	snprintf(id, sizeof(id), "%s", rig_text(rig_session(sessions, victim->pid), "session"));
	snprintf(digits, sizeof(digits), "%.8s", id);
	json_decref(sessions);
	/* nobody says yes, and nobody may from elsewhere */
	rig_ctl(r, ARGUMENTS("evict", id), &here);
	assert_int_equal(here.status, 2);
	assert_non_null(strstr(here.err, "want --yes"));
	rig_ctl_remote(r, ARGUMENTS("evict", "--yes", id), &there);
	assert_int_equal(there.status, 3);
	assert_non_null(strstr(there.err, "only on the admin socket"));
	/* nearly its number */
	snprintf(wrong, sizeof(wrong), "%.8s%c", id, id[8] == '0' ? '1' : '0');
	rig_ctl(r, ARGUMENTS("evict", "--yes", wrong), &here);
	assert_int_equal(here.status, 3);
	client_check(victim, lost, 5000, SEED);
	for (char *digit = digits; *digit; digit++)
		*digit = (char)toupper((unsigned char)*digit);
	answer = order(r, "evict", digits);
	assert_lost(answer, 1, 1, 5000);
	assert_string_equal(rig_text(answer, "holders.0.session"), id);
	assert_int_equal(rig_number(answer, "holders.0.pid"), victim->pid);
	json_decref(answer);
	assert_taken(r, 1);
	assert_int_equal(try_check(victim, lost, 5000), -ESTALE);
	assert_int_equal(try_free(victim, lost), -ESTALE);
	later = client_alloc(victim, 4000, -1); /* in a session of its own making */
	client_fill(victim, later, 4000, SEED);
	client_check(victim, later, 4000, SEED);
	client_check(other, kept, 3000, SEED);
	rig_ctl(r, ARGUMENTS("evict", "--yes", id), &here);
	assert_int_equal(here.status, 3);
	assert_non_null(strstr(here.err, "no session"));
	/* it is not forgotten that it was lost, and how */
	rig_ctl(r, ARGUMENTS("leaks", "--reclaimed"), &here);
	assert_non_null(strstr(here.out, "taken by an operator"));
	rig_ctl(r, ARGUMENTS("leaks", "--audit", "--quiet"), &here);
	assert_int_equal(here.status, 1);
	rig_ctl(r, ARGUMENTS("leaks", "--ack", "all"), &here);
	rig_ctl(r, ARGUMENTS("leaks", "--audit", "--quiet"), &here);
	assert_int_equal(here.status, 0);
	client_free(victim, later);
	client_free(other, kept);
	client_close(victim);
	client_close(other);
	client_finish(victim);
	client_finish(other);
	rig_end(r);
}

/* One allocation of two, by an address in its middle. */
static void test_revoke(void **state)
{
	struct rig *r = *state;
	uint64_t lost, kept, again;
	struct client *c;
	char addr[32];
	json_t *answer;

	rig_start(r, NULL);
	c = start_puppet(r, &lost, 5000);
	kept = client_alloc(c, 6000, -1);
	client_fill(c, kept, 6000, SEED);
	snprintf(addr, sizeof(addr), "0x%" PRIx64, lost + 100);
	answer = order(r, "revoke", addr);
	assert_lost(answer, 1, 1, 5000);
	assert_int_equal(rig_number(answer, "allocation.bytes"), 5000);
	json_decref(answer);
	assert_taken(r, 1);
	assert_int_equal(try_check(c, lost, 5000), -ESTALE);
	client_check(c, kept, 6000, SEED);
	/* its address is not lent to this program again before it has given it up */
	again = client_alloc(c, 5000, -1);
	assert_true(again != lost);
	assert_int_equal(try_free(c, lost), -ESTALE);
	rig_ctl(r, ARGUMENTS("revoke", "--yes", addr), &here);
	assert_int_equal(here.status, 3);
	assert_non_null(strstr(here.err, "nobody holds"));
	client_check(c, kept, 6000, SEED);
	client_free(c, kept);
	client_free(c, again);
	client_close(c);
	client_finish(c);
	rig_ctl(r, ARGUMENTS("leaks", "--ack", "all"), &here);
	assert_int_equal(here.status, 0);
	rig_end(r);
}

/* What a dead client has left, although rmemd is to take nothing by itself; nothing of the living. */
static void test_reclaim(void **state)
{
	const char *const options[] = { "--reclaim", "never", NULL };
	struct rig *r = *state;
	struct client *dead, *living;
	uint64_t kept;
	json_t *answer;

	rig_start(r, options);
	dead = start_holder(r);
	living = start_puppet(r, &kept, 3000);
	answer = order(r, "reclaim", "--json");
	assert_lost(answer, 0, 0, 0);
	json_decref(answer);
	client_kill(dead);
	rig_await_dead(r, dead->pid);
	rig_ctl(r, ARGUMENTS("leaks", "--audit", "--quiet"), &here);
	assert_int_equal(here.status, 1);
	rig_ctl(r, ARGUMENTS("reclaim", "--yes"), &here);
	assert_int_equal(here.status, 0);
	assert_non_null(strstr(here.out, " in 60 blocks of 1 session that is gone"));
	assert_taken(r, 1);
	/* What the last audit has seen is not there any more: there is another one, and nothing of the dead in it. */
	answer = rig_ask(r, "{\"cmd\":\"leaks\",\"audit\":\"last\"}");
	assert_int_equal(rig_number(answer, "summary.definite.blocks"), 0);
	json_decref(answer);
	rig_ctl(r, ARGUMENTS("reclaim", "--yes"), &here);
	assert_int_equal(here.status, 0);
	assert_non_null(strstr(here.out, "nothing to take back"));
	client_check(living, kept, 3000, SEED);
	client_free(living, kept);
	client_close(living);
	client_finish(living);
	rig_ctl(r, ARGUMENTS("leaks", "--ack", "all"), &here);
	rig_end(r);
}

static void test_log_level(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	rig_assert_serves(r);
	assert_false(rig_log_says(r, " opened from "));
	rig_ctl(r, ARGUMENTS("log-level", "debug"), &here);
	assert_int_equal(here.status, 0);
	assert_string_equal(here.out, "the log level is debug now; it was info\n");
	rig_assert_serves(r);
	assert_true(rig_log_says(r, " opened from "));
	rig_ctl(r, ARGUMENTS("audit"), &here);
	assert_int_equal(here.status, 0);
	assert_non_null(strstr(here.out, "UNACCOUNTED 0 "));
	rig_stop(r, false);
}

/* A request and the code of the error that answers it, "" for none; as another user, who may use the socket. */
static void ask_raw(struct rig *r, const char *request, bool other_user, char code[32])
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[4096] = "";
	json_t *answer;
	int pipes[2], status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ssize_t n;

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->admin);
		if ((other_user && setresuid(65534, 65534, 65534)) ||
			connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
			dprintf(fd, "%s\n", request) < 0)
			_exit(1);
		n = read(fd, text, sizeof(text));
		_exit(n <= 0 || write(pipes[1], text, (size_t)n) != n);
	}
	close(pipes[1]);
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	answer = parse(text);
	snprintf(code, 32, "%s",
		json_object_get(answer, "error") ? rig_text(answer, "error.code") : "");
	json_decref(answer);
}

/* Peers that are not the socket's owner, and requests that make no sense, order nothing. */
static void test_bad_orders(void **state)
{
	static const struct {
		const char *request, *code;
		bool other_user;
	} all[] = {
		{ "{\"cmd\":\"evict\",\"session\":\"0\"}", "EPERM", true },
		{ "{\"cmd\":\"revoke\",\"addr\":\"0x9e00000000001000\"}", "EPERM", true },
		{ "{\"cmd\":\"reclaim\"}", "EPERM", true },
		{ "{\"cmd\":\"reclaim\",\"preview\":true}", "EPERM", true },
		{ "{\"cmd\":\"log-level\",\"level\":\"debug\"}", "EPERM", true },
		{ "{\"cmd\":\"quota\",\"session\":\"bytes=8G\"}", "EPERM", true },
		{ "{\"cmd\":\"quota\"}", "", true },
		{ "{\"cmd\":\"quota\",\"session\":8}", "EINVAL", false },
		{ "{\"cmd\":\"quota\",\"job\":\"bytes=0\"}", "EINVAL", false },
		{ "{\"cmd\":\"acknowledge\",\"id\":\"all\"}", "", true },
		{ "{\"cmd\":\"evict\"}", "EINVAL", false },
		{ "{\"cmd\":\"evict\",\"session\":\"\"}", "EINVAL", false },
		{ "{\"cmd\":\"evict\",\"session\":7}", "EINVAL", false },
		{ "{\"cmd\":\"evict\",\"session\":\"0123456789abcdef0123456789abcdef0\"}", "EINVAL",
			false },
		{ "{\"cmd\":\"evict\",\"session\":\"xyz\"}", "EINVAL", false },
		{ "{\"cmd\":\"evict\",\"session\":\"00000000000000000000000000000000\"}", "ENOENT",
			false },
		{ "{\"cmd\":\"reclaim\",\"preview\":1}", "EINVAL", false },
		{ "{\"cmd\":\"revoke\"}", "EINVAL", false },
		{ "{\"cmd\":\"revoke\",\"addr\":\"-1\"}", "EINVAL", false },
		{ "{\"cmd\":\"revoke\",\"addr\":\"0x9e00000000001000\",\"id\":\"1\"}", "EINVAL",
			false },
		{ "{\"cmd\":\"revoke\",\"addr\":\"0xffffffffffffffff\"}", "ENOENT", false },
		{ "{\"cmd\":\"log-level\"}", "EINVAL", false },
		{ "{\"cmd\":\"log-level\",\"level\":\"off\"}", "EINVAL", false },
		{ "{\"cmd\":\"log-level\",\"level\":\"debug \"}", "EINVAL", false },
		{ "{\"cmd\":\"leaks\",\"audit\":1}", "EINVAL", false },
		{ "{\"cmd\":\"leaks\",\"audit\":\"old\"}", "EINVAL", false },
	};
	struct rig *r = *state;
	char request[128], code[32];
	struct client *c;
	uint64_t addr;

	rig_start(r, NULL);
	c = start_puppet(r, &addr, 5000);
	assert_int_equal(chmod(r->dir, 0711), 0); /* the other user gets as far as the socket */
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].other_user && geteuid() != 0)
			continue;
		ask_raw(r, all[i].request, all[i].other_user, code);
		if (strcmp(code, all[i].code) != 0)
			fail_msg("%s: %s", all[i].request, code);
	}
	/* another allocation than the one that was shown */
	snprintf(request, sizeof(request),
		"{\"cmd\":\"revoke\",\"addr\":\"0x%" PRIx64 "\",\"id\":999}", addr);
	ask_raw(r, request, false, code);
	assert_string_equal(code, "ENOENT");
	assert_false(rig_log_says(r, "log level"));
	client_check(c, addr, 5000, SEED);
	client_free(c, addr);
	client_close(c);
	client_finish(c);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_map_is_the_same),
		RIG_TEST(test_every_report),
		RIG_TEST(test_observers_leave_no_trace),
		RIG_TEST(test_errors),
		RIG_TEST(test_timed_audits),
		RIG_TEST(test_last_audit),
		RIG_TEST(test_evict),
		RIG_TEST(test_revoke),
		RIG_TEST(test_reclaim),
		RIG_TEST(test_log_level),
		RIG_TEST(test_bad_orders),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_REPORTS, tests, sizeof(tests) / sizeof(tests[0]));
}
