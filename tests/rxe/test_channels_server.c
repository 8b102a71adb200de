/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels, as rmemd sees them: who may join, what may be said there, whose keys work where, and that
 * FREE takes the memory away from all connections of a session before it goes to anybody else.
 * With the argument "window": the same with windows that are invalidated.
 */
#include <errno.h>
#include <string.h>

#include "tests/rxe/crew.h"
#include "tests/rxe/speech.h"

/* ---- JOIN ---- */

static int join_once(struct rig *r, const struct raw_session *s)
{
	struct raw *channel = NULL;
	int err = raw_channel(r->port, s, &channel);

	raw_close(channel);
	return err;
}

static void who_may_join(void **state)
{
	struct rig *r = *state;
	struct raw_session other;
	struct raw *late = NULL;
	struct crew w;
	uint64_t addr;

	crew_start(r, NULL);
	raw_session_init(&other);
	assert_int_equal(join_once(r, &other), -ESTALE); /* before its HELLO */
	crew_open(&w, r, 1);
	addr = crew_alloc(&w);
	other = w.session;
	other.hello.secret[0] ^= 1;
	assert_int_equal(join_once(r, &other), -EACCES);
	other.hello.secret[0] ^= 1;
	other.hello.secret[ID_SIZE - 1] ^= 0x80;
	assert_int_equal(join_once(r, &other), -EACCES);
	memset(other.hello.secret, 0, ID_SIZE);
	assert_int_equal(join_once(r, &other), -EACCES);
	/* All that has harmed nobody. */
	crew_attach(w.channels[0], addr);
	assert_int_equal(join_once(r, &w.session), 0);

	/* A session that is not connected, and one that is over and still holds something. */
	other = w.session;
	crew_drop(&w);
	assert_int_equal(raw_open(r->port, &other, &late), 0);
	assert_int_equal(raw_bye(late), 0);
	assert_int_equal(join_once(r, &other), -ESTALE);
	raw_close(late);
	assert_int_equal(join_once(r, &other), -ESTALE);
	rig_stop(r, true);
}

static bool is_detached(const json_t *sessions, void *arg)
{
	(void)arg;
	return strcmp(rig_text(sessions, "sessions.0.state"), "detached") == 0;
}

static void not_without_a_control_connection(void **state)
{
	struct rig *r = *state;
	struct crew w;

	crew_start(r, NULL);
	crew_open(&w, r, 2);
	crew_drop(&w);
	json_decref(rig_await(r, "sessions", is_detached, NULL, "its connections to be gone"));
	assert_int_equal(join_once(r, &w.session), -ESTALE);
	assert_int_equal(raw_open(r->port, &w.session, &w.control), 0);
	crew_join(&w);
	crew_close(&w);
	rig_end(r);
}

static bool has_channels(const json_t *sessions, void *arg)
{
	return rig_number(sessions, "sessions.0.channels") == *(long long *)arg;
}

static void not_more_than_the_limit(void **state)
{
	long long left = CHANNELS_PER_SESSION_MAX - 1;
	struct rig *r = *state;
	struct crew w;

	crew_start(r, NULL);
	crew_open(&w, r, CHANNELS_PER_SESSION_MAX);
	assert_int_equal(
		rig_ask_number(r, "sessions", "sessions.0.channels"), CHANNELS_PER_SESSION_MAX);
	assert_int_equal(rig_ask_number(r, "status", "channels"), CHANNELS_PER_SESSION_MAX);
	assert_int_equal(join_once(r, &w.session), -EUSERS);
	/* Whoever leaves makes room. */
	raw_close(w.channels[--w.nchannels]);
	json_decref(rig_await(r, "sessions", has_channels, &left, "a channel to be gone"));
	crew_join(&w);
	assert_int_equal(join_once(r, &w.session), -EUSERS);
	crew_close(&w);
	rig_end(r);
}

static void never_joins(void **state)
{
	const struct raw_attr attr = { .purpose = PURPOSE_CHANNEL };
	struct raw *silent = NULL;
	struct rig *r = *state;

	crew_start(r, NULL);
	assert_int_equal(raw_connect(r->port, &attr, &silent), 0);
	assert_int_equal(raw_wait_gone(silent, RAW_LIMIT_NS), 0);
	raw_close(silent);
	rig_end(r);
}

/* ---- what may be said on a channel ---- */

static int say(struct raw *r, enum message_type type, const struct crew *crew)
{
	uint8_t buffer[MESSAGE_MAX];
	struct wire body = wire_over(buffer, sizeof(buffer));

	if (type == MESSAGE_HELLO)
		hello_request_put(&body, &crew->session.hello);
	else if (type == MESSAGE_JOIN)
		raw_put_join(&body, &crew->session);
	else
		speech_put_body(&body, type);
	return raw_call(r, type, &body, NULL);
}

static void other_messages_cut_it_off(void **state)
{
	const struct raw_attr attr = { .purpose = PURPOSE_CHANNEL };
	struct rig *r = *state;
	struct crew w;

	crew_start(r, NULL);
	crew_open(&w, r, 0);
	for (unsigned type = MESSAGE_HELLO; type <= MESSAGE_ACCEPT; type++) {
		struct raw *raw = NULL;

		/* First: nothing but a JOIN. */
		assert_int_equal(raw_connect(r->port, &attr, &raw), 0);
		assert_int_equal(say(raw, type, &w), type == MESSAGE_JOIN ? 0 : -ECONNRESET);
		raw_close(raw);
		/* Then: nothing but ATTACH, and no second JOIN either. */
		raw = NULL;
		assert_int_equal(raw_channel(r->port, &w.session, &raw), 0);
		assert_int_equal(
			say(raw, type, &w), type == MESSAGE_ATTACH ? -ESTALE : -ECONNRESET);
		raw_close(raw);
	}
	/* Nor does a JOIN fit on a control connection; that one ends with it. */
	assert_int_equal(raw_call(w.control, MESSAGE_RENEW, NULL, NULL), 0);
	assert_int_equal(say(w.control, MESSAGE_JOIN, &w), -ECONNRESET);
	crew_await_gone(&w);
	rig_end(r);
}

/* ---- keys ---- */

/* Every connection of a session reaches the same bytes, each by its own key and by no other's. */
static void keys_are_a_connections_own(void **state)
{
	struct rig *r = *state;
	uint32_t keys[3], control;
	struct grant_reply again;
	struct crew w;
	uint64_t addr;

	crew_start(r, NULL);
	crew_open(&w, r, 3);
	addr = crew_alloc(&w);
	control = crew_attach(w.control, addr);
	crew_fill(w.control, addr, control, 1);
	for (unsigned i = 0; i < 3; i++) {
		keys[i] = crew_attach(w.channels[i], addr);
		crew_check(w.channels[i], addr, keys[i], 1 + i);
		crew_fill(w.channels[i], addr, keys[i], 2 + i);
		crew_check(w.control, addr, control, 2 + i);
		assert_int_equal(raw_attach(w.channels[i], addr, &again), 0);
		assert_int_equal(again.rkey, keys[i]);
	}
	assert_int_equal(raw_attach(w.control, addr, &again), 0);
	assert_int_equal(again.rkey, control);
	crew_refused(w.channels[0], addr, keys[1]);
	crew_refused(w.channels[1], addr, control);
	/* Neither of that harmed the others. */
	crew_check(w.channels[2], addr, keys[2], 4);
	crew_check(w.control, addr, control, 4);
	crew_refused(w.control, addr, keys[2]);
	crew_await_gone(&w);
	/* On new connections none of them works. */
	assert_int_equal(raw_open(r->port, &w.session, &w.control), 0);
	for (unsigned i = 0; i < 3; i++)
		crew_refused(crew_join(&w), addr, keys[i]);
	assert_int_equal(raw_free(w.control, addr), 0);
	crew_close(&w);
	rig_end(r);
}

static void not_others_memory(void **state)
{
	struct rig *r = *state;
	struct grant_reply got;
	struct crew w, thief;
	uint64_t addr;

	crew_start(r, NULL);
	crew_open(&w, r, 1);
	crew_open(&thief, r, 1);
	addr = crew_alloc(&w);
	crew_attach(w.channels[0], addr);
	assert_int_equal(raw_attach(thief.channels[0], addr, &got), -ESTALE);
	assert_int_equal(raw_attach(w.channels[0], addr + 8, &got), -ESTALE);
	assert_int_equal(raw_free(w.control, addr), 0);
	assert_int_equal(raw_attach(w.channels[0], addr, &got), -ESTALE);
	crew_close(&thief);
	crew_close(&w);
	rig_end(r);
}

/* ---- FREE ---- */

static void free_ends_all_keys(void **state)
{
	struct rig *r = *state;
	uint32_t keys[3], control, key;
	struct crew w, next;
	uint64_t addr;

	crew_start(r, NULL);
	crew_open(&w, r, 3);
	crew_open(&next, r, 1);
	addr = crew_alloc(&w);
	control = crew_attach(w.control, addr);
	for (unsigned i = 0; i < 3; i++)
		keys[i] = crew_attach(w.channels[i], addr);
	crew_fill(w.channels[0], addr, keys[0], 7);
	assert_int_equal(raw_free(w.control, addr), 0);
	rig_await_wiped(r);
	assert_true(crew_alloc(&next) == addr); /* the lowest of an empty pool */
	key = crew_attach(next.channels[0], addr);
	crew_check(next.channels[0], addr, key, 0);
	crew_fill(next.channels[0], addr, key, 8);
	for (unsigned i = 0; i < 3; i++)
		crew_refused(w.channels[i], addr, keys[i]);
	crew_refused(w.control, addr, control);
	crew_await_gone(&w);
	crew_check(next.channels[0], addr, key, 8);
	assert_int_equal(raw_free(next.control, addr), 0);
	crew_close(&next);
	assert_int_equal(raw_open(r->port, &w.session, &w.control), 0);
	crew_close(&w);
	rig_end(r);
}

/* Windows are used again; more of them than a connection keeps. */
static void again_and_again(void **state)
{
	struct rig *r = *state;
	struct crew w;

	crew_start(r, NULL);
	crew_open(&w, r, 3);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t addrs[40];

		for (unsigned i = 0; i < 40; i++) {
			addrs[i] = crew_alloc(&w);
			for (unsigned k = 0; k < 3; k++)
				if ((i + k + round) % 4)
					crew_attach(w.channels[k], addrs[i]);
			if (i % 2)
				crew_attach(w.control, addrs[i]);
		}
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(raw_free(w.control, addrs[i]), 0);
	}
	assert_int_equal(rig_ask_number(r, "status", "counters.frees"), 240);
	crew_close(&w);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(who_may_join),
		RIG_TEST(not_without_a_control_connection),
		RIG_TEST(not_more_than_the_limit),
		RIG_TEST(never_joins),
		RIG_TEST(other_messages_cut_it_off),
		RIG_TEST(keys_are_a_connections_own),
		RIG_TEST(not_others_memory),
		RIG_TEST(free_ends_all_keys),
		RIG_TEST(again_and_again),
	};

	return crew_main(
		argc, argv, RIG_PORT_CHANNELS_SERVER, tests, sizeof(tests) / sizeof(tests[0]));
}
