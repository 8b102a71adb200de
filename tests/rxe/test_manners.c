/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients without manners: messages that are right at the wrong time, and connections that say nothing, never
 * listen, or go in the middle. rmemd goes on, serves others meanwhile, and nothing of it accumulates.
 */
#include <errno.h>
#include <sys/prctl.h>

#include "common/clock.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/speech.h"

#define SILENT 200
#define ROUND (4 * MESSAGE_ACCEPT) /* each message in each way */
#define HELLO_LIMIT_MS 5000        /* what rmemd allows */

/* ---- out of order ---- */

static void requests_out_of_order(void **state)
{
	struct rig *r = *state;
	struct speech m;

	rig_start(r, NULL);
	/* HELLO twice. */
	speech_make(&m, MESSAGE_HELLO, 1000);
	speech_assert_cut_off(r, MESSAGE_RENEW, m.bytes, m.n);
	for (unsigned type = MESSAGE_BYE; type <= MESSAGE_ACCEPT; type++) {
		struct raw *raw;

		speech_make(&m, type, 1000);
		if (!speech_is_for_observers(type)) {
			speech_assert_cut_off(r, MESSAGE_HELLO, m.bytes, m.n); /* before HELLO */
			speech_assert_cut_off(
				r, MESSAGE_REPORT, m.bytes, m.n); /* from an observer */
		}
		/* After BYE. */
		raw = speech_connect(r, MESSAGE_RENEW);
		assert_int_equal(raw_bye(raw), 0);
		assert_int_equal(speech_say(raw, m.bytes, m.n), -ECONNRESET);
		raw_close(raw);
	}
	speech_make(&m, MESSAGE_HELLO, 1000);
	speech_assert_cut_off(r, MESSAGE_REPORT, m.bytes, m.n);
	speech_end(r);
}

/* Two at once, and rmemd finds both when it looks: both are answered, in order. */
static void requests_without_waiting(void **state)
{
	static const enum message_type types[] = { MESSAGE_RENEW, MESSAGE_SITE, MESSAGE_FENCE };
	struct rig *r = *state;
	struct header h;
	struct wire reply;
	struct speech m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 9; i++) {
		struct raw *raw = speech_connect(r, MESSAGE_RENEW);

		rig_freeze(r);
		for (unsigned k = 0; k < 2; k++) {
			speech_make(&m, types[(k ? i / 3 : i) % 3], 1000 + k);
			assert_int_equal(raw_send(raw, m.bytes, m.n), 0);
		}
		rig_thaw(r);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(raw_receive(raw, &reply), 0);
			header_get(&reply, &h);
			assert_int_equal(h.type, types[(k ? i / 3 : i) % 3]);
			assert_int_equal(h.seq, 1000 + k);
		}
		raw_close(raw);
	}
	speech_end(r);
}

/* ---- silence ---- */

static void never_says_hello(void **state)
{
	struct rig *r = *state;
	struct raw *raw = NULL;
	uint64_t began_ns, took_ms;

	rig_start(r, NULL);
	began_ns = clock_boot_ns(); /* rmemd counts from later on */
	assert_int_equal(raw_connect(r->port, NULL, &raw), 0);
	assert_int_equal(raw_wait_gone(raw, RAW_LIMIT_NS), 0);
	took_ms = (clock_boot_ns() - began_ns) / NSEC_PER_MSEC;
	assert_true(took_ms >= HELLO_LIMIT_MS);
	raw_close(raw);
	speech_end(r);
}

static void many_who_say_nothing(void **state)
{
	static struct raw *silent[SILENT];
	struct rig *r = *state;
	struct rig_health before;

	rig_start(r, NULL);
	before = rig_look(r);
	for (unsigned i = 0; i < SILENT; i++)
		assert_int_equal(raw_connect(r->port, NULL, &silent[i]), 0);
	rig_assert_serves(r);
	for (unsigned i = 0; i < SILENT; i++) {
		assert_int_equal(raw_wait_gone(silent[i], RAW_LIMIT_NS), 0);
		raw_close(silent[i]);
	}
	assert_true(rig_look(r).files <= before.files + 1); /* its end of our last question */
	speech_end(r);
}

static void never_listens(void **state)
{
	const struct raw_attr attr = { .no_receives = true };
	struct raw *deaf[8] = { NULL };
	struct rig *r = *state;
	struct speech m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(raw_connect(r->port, &attr, &deaf[i]), 0);
		speech_make(&m, MESSAGE_HELLO, 1);
		assert_int_equal(raw_send(deaf[i], m.bytes, m.n), 0);
		speech_make(&m, MESSAGE_ALLOC, 2);
		if (i % 2)
			(void)raw_send(deaf[i], m.bytes, m.n);
	}
	rig_assert_serves(r);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(raw_wait_gone(deaf[i], 2 * RAW_LIMIT_NS), 0);
		raw_close(deaf[i]);
	}
	rig_assert_well(r);
	rig_assert_serves(r);
	rig_stop(r, true); /* what was allocated for the deaf stays until its courtesy is over */
}

static void leaves_in_the_middle(void **state)
{
	struct rig *r = *state;
	struct speech m;

	rig_start(r, NULL);
	for (unsigned type = MESSAGE_HELLO; type <= MESSAGE_ACCEPT; type++) {
		for (unsigned i = 0; i < 10; i++) {
			struct raw *raw = speech_connect(r, type);

			speech_make(&m, type, 1000);
			/* Of every second it is known that it has arrived. */
			assert_int_equal(
				(i % 2 ? raw_send : raw_send_nowait)(raw, m.bytes, m.n), 0);
			raw_close(raw);
		}
	}
	rig_assert_well(r);
	rig_assert_serves(r);
	/* This process lives, and what it has been lent is kept. */
	assert_in_range(rig_ask_number(r, "status", "allocations.blocks"), 5, 10);
	rig_stop(r, true);
}

/* ---- nothing accumulates ---- */

/* With every message: says nothing, half of it, all without waiting for the answer, all. */
static void misbehave(const struct rig *r, unsigned i)
{
	unsigned type = 1 + i % MESSAGE_ACCEPT, way = i / MESSAGE_ACCEPT % 4;
	struct raw *raw = speech_connect(r, type);
	struct speech m;

	speech_make(&m, type, 1000);
	if (way == 1)
		(void)speech_say(raw, m.bytes, m.n / 2);
	else if (way == 2)
		(void)raw_send_nowait(raw, m.bytes, m.n);
	else if (way == 3)
		(void)speech_say(raw, m.bytes, m.n);
	raw_close(raw);
}

static bool as_before(const struct rig_health *before, const struct rig_health *now)
{
	return now->files <= before->files + 1 && now->rss_kb - before->rss_kb < 1024;
}

static bool holds_nothing(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "allocations.blocks") == 0;
}

static void nothing_accumulates(void **state)
{
	static const char *const options[] = { "--ttl", "6s", "--courtesy", "0", "--reclaim",
		"100ms", NULL };
	struct rig_health before, after;
	struct rig *r = *state;
	uint64_t until_ns;

	/* rmemd inherits it. Else the kernel makes a huge page of half-used memory whenever it comes by: 2 MiB more. */
	assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	rig_start(r, options);
	for (unsigned i = 0; i < ROUND; i++)
		misbehave(r, i);
	before = rig_look(r);
	for (unsigned i = 0; i < 5 * ROUND; i++)
		misbehave(r, i);
	/* The last of them may still be on their way out. */
	until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	do
		after = rig_look(r);
	while (!as_before(&before, &after) && clock_boot_ns() < until_ns);
	print_message("memory %lld → %lld KiB, %u → %u files\n", before.rss_kb, after.rss_kb,
		before.files, after.files);
	assert_true(as_before(&before, &after));
	/* Each round has allocated, and everything is taken back when the leases are over. */
	json_decref(rig_await(r, "status", holds_nothing, NULL, "all memory to be taken back"));
	assert_true(rig_ask_number(r, "status", "counters.reclaimed_blocks") >= 6);
	rig_assert_serves(r);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(requests_out_of_order),
		RIG_TEST(requests_without_waiting),
		RIG_TEST(never_says_hello),
		RIG_TEST(many_who_say_nothing),
		RIG_TEST(never_listens),
		RIG_TEST(leaves_in_the_middle),
		RIG_TEST(nothing_accumulates),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_MANNERS, tests, sizeof(tests) / sizeof(tests[0]));
}
