/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How sessions with channels end, as rmemd sees it: one channel, the control connection, the lease, the
 * process; and how a session comes back while its earlier connections are still there. Whatever
 * happens, no key outlives its connection, and every byte is accounted for.
 * With the argument "window": the same with windows that are invalidated.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/rxe/client.h"
#include "tests/rxe/crew.h"
#include "tests/rxe/outside.h"

#define HOLDER "channel-holder" /* a role of this program */
#define CHANNELS 8
#define BLOCKS 12
#define MANY 400 /* blocks; times channels: grants that take the reaper many slices */

static void renew(struct crew *w)
{
	assert_int_equal(raw_call(w->control, MESSAGE_RENEW, NULL, NULL), 0);
}

static bool has_channels(const json_t *sessions, void *arg)
{
	return rig_number(sessions, "sessions.0.channels") == *(long long *)arg;
}

static bool is_in_state(const json_t *sessions, void *arg)
{
	return strcmp(rig_text(sessions, "sessions.0.state"), *(const char **)arg) == 0;
}

static void await_state(struct rig *r, const char *wanted)
{
	json_decref(rig_await(r, "sessions", is_in_state, &wanted, wanted));
}

/* ---- one channel ---- */

static void a_channel_ends_alone(void **state)
{
	struct rig *r = *state;
	long long left = 2;
	uint32_t keys[3];
	struct crew w;
	uint64_t addr;

	crew_start(r, NULL);
	addr = crew_open_holding(&w, r, 3, keys, 5);
	/* By its own fault; and by leaving. */
	crew_refused(w.channels[2], addr, keys[2] ^ 1);
	raw_close(w.channels[2]);
	w.nchannels = 2;
	json_decref(rig_await(r, "sessions", has_channels, &left, "the channel to be gone"));
	renew(&w);
	crew_check(w.channels[1], addr, keys[1], 5);
	raw_close(w.channels[1]);
	w.nchannels = left = 1;
	json_decref(rig_await(r, "sessions", has_channels, &left, "the channel to be gone"));
	renew(&w);
	crew_check(w.channels[0], addr, keys[0], 5);
	crew_join(&w);
	keys[1] = crew_attach(w.channels[1], addr);
	crew_check(w.channels[1], addr, keys[1], 5);
	assert_int_equal(raw_free(w.control, addr), 0);
	crew_close(&w);
	rig_end(r);
}

/* FREE asks for the end of a grant whose connection is just going. */
static void a_channel_ends_during_free(void **state)
{
	struct rig *r = *state;
	struct crew w;

	crew_start(r, NULL);
	crew_open(&w, r, 3);
	for (unsigned round = 0; round < 10; round++) {
		const uint64_t addr = crew_alloc(&w);
		const struct free_request q = { .addr = addr, .serial = raw_serial(addr) };

		for (unsigned i = 0; i < 3; i++)
			crew_attach(w.channels[i], q.addr);
		rig_freeze(r);
		/* What rmemd will find first is up to its devices' events. */
		if (round % 2)
			raw_close(w.channels[--w.nchannels]);
		assert_int_equal(RAW_SAY(w.control, MESSAGE_FREE, free, &q), 0);
		if (round % 2 == 0)
			raw_close(w.channels[--w.nchannels]);
		rig_thaw(r);
		assert_int_equal(raw_reply(w.control, MESSAGE_FREE, NULL), 0);
		crew_join(&w);
	}
	assert_int_equal(rig_ask_number(r, "status", "counters.frees"), 10);
	crew_close(&w);
	rig_end(r);
}

/* ---- the control connection ---- */

/* Its n keys are worth nothing any more, and its bytes are there. */
static void comes_back(
	struct crew *w, uint64_t addr, const uint32_t keys[], unsigned n, uint64_t seed)
{
	struct raw *channel;

	await_state(w->rig, "detached");
	assert_int_equal(raw_open(w->rig->port, &w->session, &w->control), 0);
	for (unsigned i = 0; i < n; i++) {
		crew_refused(crew_join(w), addr, keys[i]);
		renew(w); /* its lease may be short */
	}
	channel = crew_join(w);
	crew_check(channel, addr, crew_attach(channel, addr), seed);
	assert_int_equal(raw_free(w->control, addr), 0);
	crew_close(w);
	rig_end(w->rig);
}

static void the_control_connection_ends(void **state)
{
	struct rig *r = *state;
	uint32_t keys[3];
	struct crew w;
	uint64_t addr;

	crew_start(r, NULL);
	addr = crew_open_holding(&w, r, 3, keys, 6);
	raw_close(w.control);
	w.control = NULL;
	crew_await_gone(&w);
	comes_back(&w, addr, keys, 3, 6);
}

static void goodbye_ends_the_channels(void **state)
{
	struct rig *r = *state;
	struct crew w;
	uint64_t addr;

	crew_start(r, NULL);
	crew_open(&w, r, 3);
	addr = crew_alloc(&w);
	crew_attach(w.channels[0], addr);
	assert_int_equal(raw_bye(w.control), 0);
	crew_await_gone(&w);
	await_state(r, "closed");
	assert_int_equal(rig_ask_number(r, "leaks", "summary.definite.blocks"), 1);
	rig_assert_well(r);
	rig_stop(r, true);
}

/* ---- the lease ---- */

static void the_lease_ends(void **state)
{
	static const char *const options[] = { "--ttl", "4s", NULL };
	struct rig *r = *state;
	uint32_t keys[4];
	struct crew w;
	uint64_t addr;

	crew_start(r, options);
	addr = crew_open_holding(&w, r, 4, keys, 9);
	crew_await_gone(&w); /* nobody renews */
	assert_int_equal(rig_ask_number(r, "status", "counters.expiries"), 1);
	comes_back(&w, addr, keys, 4, 9);
}

/* ---- coming back ---- */

/* Much memory, and a key for all of it on every channel. */
static void hold_much(struct crew *w, uint64_t addrs[MANY])
{
	for (unsigned i = 0; i < MANY; i++) {
		addrs[i] = crew_alloc(w);
		for (unsigned k = 0; k < w->nchannels; k++)
			crew_attach(w->channels[k], addrs[i]);
	}
}

static void free_all(struct crew *w, const uint64_t addrs[MANY])
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(raw_free(w->control, addrs[i]), 0);
}

static void comes_back_while_connected(void **state)
{
	struct rig *r = *state;
	uint64_t addrs[MANY];
	struct crew w, old;
	uint32_t key;

	crew_start(r, NULL);
	crew_open(&w, r, 4);
	hold_much(&w, addrs);
	key = crew_attach(w.channels[2], addrs[7]);
	crew_fill(w.channels[2], addrs[7], key, 3);
	old = w;
	w.nchannels = 0;
	w.control = NULL;
	assert_int_equal(raw_open(r->port, &w.session, &w.control), 0);
	/* It was answered when nothing was left of the earlier ones. */
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 1);
	assert_int_equal(rig_ask_number(r, "sessions", "sessions.0.channels"), 0);
	crew_await_gone(&old);
	crew_join(&w);
	crew_refused(w.channels[0], addrs[7], key);
	crew_join(&w);
	crew_check(w.channels[1], addrs[7], crew_attach(w.channels[1], addrs[7]), 3);
	free_all(&w, addrs);
	crew_close(&w);
	rig_end(r);
}

static void send_hello(struct raw *r, const struct raw_session *s)
{
	assert_int_equal(RAW_SAY(r, MESSAGE_HELLO, hello, &s->hello), 0);
}

/*
 * Two come back at once, and one that goes away again. rmemd stands still meanwhile, so that it finds the
 * earlier connections there when it looks at the first.
 */
static void only_the_newest_comes_back(void **state)
{
	struct raw *first = NULL, *second = NULL;
	struct rig *r = *state;
	uint64_t addrs[MANY];
	struct crew w, old;

	crew_start(r, NULL);
	crew_open(&w, r, 2);
	hold_much(&w, addrs);
	old = w;
	w.nchannels = 0;
	assert_int_equal(raw_connect(r->port, NULL, &first), 0);
	assert_int_equal(raw_connect(r->port, NULL, &second), 0);
	rig_freeze(r);
	send_hello(first, &w.session);
	send_hello(second, &w.session);
	rig_thaw(r);
	assert_int_equal(raw_reply(first, MESSAGE_HELLO, NULL), -ECONNRESET);
	assert_int_equal(raw_reply(second, MESSAGE_HELLO, NULL), 0);
	assert_int_equal(raw_wait_gone(first, RAW_LIMIT_NS), 0);
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 1);
	crew_await_gone(&old);
	raw_close(first);

	/* The one that waits leaves: the session is there for the next. */
	w.control = second;
	crew_join(&w);
	for (unsigned i = 0; i < MANY; i++)
		crew_attach(w.channels[0], addrs[i]);
	first = NULL;
	assert_int_equal(raw_connect(r->port, NULL, &first), 0);
	send_hello(first, &w.session);
	assert_int_equal(raw_wait_gone(w.control, RAW_LIMIT_NS), 0); /* it was heard, and waits */
	raw_close(first);
	crew_await_gone(&w);
	assert_int_equal(raw_open(r->port, &w.session, &w.control), 0);
	free_all(&w, addrs);
	crew_close(&w);
	rig_end(r);
}

/* ---- the process ---- */

/* The role: hold memory by many connections, tell, wait to be killed. */
static int holder(uint16_t port)
{
	struct raw_session session;
	struct raw *control = NULL;
	uint64_t addrs[BLOCKS];

	raw_session_init(&session);
	if (raw_open(port, &session, &control))
		return 1;
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct alloc_reply lent;

		if (raw_alloc_only(control, CREW_BLOCK, &lent))
			return 1;
		addrs[i] = lent.addr;
	}
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct raw *channel = NULL;
		struct grant_reply g;

		if (raw_channel(port, &session, &channel))
			return 1;
		for (unsigned k = 0; k < BLOCKS; k++)
			if (raw_attach(channel, addrs[k], &g))
				return 1;
	}
	return process_speak(&session, sizeof(session));
}

static bool all_definite(const json_t *leaks, void *arg)
{
	return rig_number(leaks, "summary.definite.blocks") == *(long long *)arg;
}

static void the_process_is_killed(void **state)
{
	struct rig *r = *state;
	struct raw_session session;
	char before[RIG_FOOTPRINT_SIZE];
	struct process process;
	json_t *leaks;
	int to;

	crew_start(r, NULL);
	rig_footprint(r, before);
	for (long long blocks = BLOCKS; blocks <= 3LL * BLOCKS; blocks += BLOCKS) {
		process_start_speaker(&process, HOLDER, r->port, &session, sizeof(session), &to);
		assert_int_equal(rig_ask_number(r, "status", "channels"), CHANNELS);
		process_signal(&process, SIGKILL);
		process_wait(&process, RIG_LIMIT_MS, "the holder");
		close(to);
		leaks = rig_await(r, "leaks", all_definite, &blocks, "its blocks to be lost");
		rig_assert_accounted(leaks);
		assert_int_equal(rig_number(leaks, "summary.definite.bytes"), blocks * CREW_BLOCK);
		assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
		json_decref(leaks);
	}
	assert_int_equal(rig_ask_number(r, "status", "channels"), 0);
	rig_await_footprint(r, before);
	rig_stop(r, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_channel_ends_alone),
		RIG_TEST(a_channel_ends_during_free),
		RIG_TEST(the_control_connection_ends),
		RIG_TEST(goodbye_ends_the_channels),
		RIG_TEST(the_lease_ends),
		RIG_TEST(comes_back_while_connected),
		RIG_TEST(only_the_newest_comes_back),
		RIG_TEST(the_process_is_killed),
	};

	if (argc > 2 && strcmp(argv[1], HOLDER) == 0)
		return holder((uint16_t)strtoul(argv[2], NULL, 10));
	return crew_main(
		argc, argv, RIG_PORT_CHANNELS_END, tests, sizeof(tests) / sizeof(tests[0]));
}
