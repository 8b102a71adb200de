/* SPDX-License-Identifier: BSD-3-Clause */
/* What rmemd says about fencing tokens (FENCE), across every way to lose a session. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/crew.h"

static const char *const brief[] = { "--ttl", "4s", NULL };

static uint64_t token_of(const struct crew *w)
{
	return w->session.reply.fencing_token;
}

static bool nobody_is_connected_but_one(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "sessions.connected") == 1;
}

static void tokens_of_the_living(void **state)
{
	struct rig *r = *state;
	struct crew a, b;
	uint64_t before, until_ns;

	crew_start(r, NULL);
	crew_open(&a, r, 1);
	crew_open(&b, r, 0);
	assert_true(token_of(&a) && token_of(&b) > token_of(&a));
	assert_int_equal(raw_fence(b.control, token_of(&a)), 0);
	assert_int_equal(raw_fence(b.control, token_of(&b)), 0);
	assert_int_equal(raw_fence(b.control, 0), -EINVAL);
	assert_int_equal(raw_fence(b.control, token_of(&b) + 1), -EINVAL);
	assert_int_equal(raw_fence(b.control, UINT64_MAX), -EINVAL);
	assert_int_equal(raw_fence(b.control, token_of(&a) | 1ULL << 63), -EINVAL);
	crew_alloc(&a);
	/* Disconnected is not out, and who comes back in time keeps it. */
	crew_drop(&a);
	json_decref(rig_await(
		r, "status", nobody_is_connected_but_one, NULL, "its connections to be gone"));
	assert_int_equal(raw_fence(b.control, token_of(&a)), 0);
	before = token_of(&a);
	assert_int_equal(raw_open(r->port, &a.session, &a.control), 0);
	assert_true(token_of(&a) == before);
	/* Goodbye: out when its connections are. */
	assert_int_equal(raw_bye(a.control), 0);
	crew_drop(&a);
	json_decref(rig_await(
		r, "status", nobody_is_connected_but_one, NULL, "its connections to be gone"));
	until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	while (raw_fence(b.control, before) == 0)
		assert_true(clock_boot_ns() < until_ns);
	assert_int_equal(raw_fence(b.control, before), 1);
	crew_close(&b);
	rig_stop(r, true);
}

static bool is_in_courtesy(const json_t *sessions, void *arg)
{
	(void)arg;
	return strcmp(rig_text(sessions, "sessions.0.lease"), "courtesy") == 0 &&
	       strcmp(rig_text(sessions, "sessions.0.state"), "detached") == 0;
}

static void an_ended_lease_costs_the_token(void **state)
{
	struct rig *r = *state;
	struct crew a, b;
	uint64_t addr, before;

	crew_start(r, brief);
	crew_open(&a, r, 1);
	addr = crew_alloc(&a);
	crew_attach(a.channels[0], addr);
	before = token_of(&a);
	/* It says nothing for longer than its lease. */
	json_decref(rig_await(r, "sessions", is_in_courtesy, NULL, "the lease to be over"));
	crew_drop(&a);
	crew_open(&b, r, 0);
	assert_int_equal(raw_fence(b.control, before), 1);
	/* A restart does not bring it back, with a longer term either. */
	rig_kill(r);
	crew_drop(&b);
	crew_start(r, NULL);
	crew_open(&b, r, 0);
	assert_int_equal(raw_fence(b.control, before), 1);
	assert_int_equal(raw_open(r->port, &a.session, &a.control), 0);
	assert_true(token_of(&a) > before);
	assert_int_equal(raw_fence(b.control, before), 1);
	assert_int_equal(raw_fence(b.control, token_of(&a)), 0);
	assert_int_equal(raw_free(a.control, addr), 0);
	crew_close(&a);
	crew_close(&b);
	rig_end(r);
}

/* Nobody asked in between: the restarted rmemd lets it come back under the same. */
static void a_restart_keeps_tokens(void **state)
{
	struct rig *r = *state;
	struct crew a, b;
	uint64_t addr, before;

	crew_start(r, NULL);
	crew_open(&a, r, 0);
	addr = crew_alloc(&a);
	before = token_of(&a);
	rig_kill(r);
	crew_drop(&a);
	crew_start(r, NULL);
	crew_open(&b, r, 0);
	assert_true(token_of(&b) > before);
	assert_int_equal(raw_fence(b.control, before), 0);
	assert_int_equal(raw_open(r->port, &a.session, &a.control), 0);
	assert_true(token_of(&a) == before);
	assert_int_equal(raw_free(a.control, addr), 0);
	crew_close(&a);
	crew_close(&b);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(tokens_of_the_living),
		RIG_TEST(an_ended_lease_costs_the_token),
		RIG_TEST(a_restart_keeps_tokens),
	};

	return crew_main(argc, argv, RIG_PORT_TOKENS, tests, sizeof(tests) / sizeof(tests[0]));
}
