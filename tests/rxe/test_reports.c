/* SPDX-License-Identifier: BSD-3-Clause */
/* Reports over RDMA: the same as on the admin socket, however long, for somebody without a session. */
#include "tests/rxe/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
	assert_non_null(strstr(there.err, "is of server 1"));
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
	assert_true(rig_log_says(r, "in 60 blocks definitely lost"));
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_map_is_the_same),
		RIG_TEST(test_every_report),
		RIG_TEST(test_observers_leave_no_trace),
		RIG_TEST(test_errors),
		RIG_TEST(test_timed_audits),
		RIG_TEST(test_last_audit),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_REPORTS, tests, sizeof(tests) / sizeof(tests[0]));
}
