/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole truth table of holder_judge() against the rules as sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "server/lease/holder.h"

#define GRACE 1000

static enum holder_evidence expected(const struct holder_facts *f)
{
	bool silent = !f->connected && f->lease_expired;
	bool grace_over = f->expired_for_ns >= GRACE;

	/* A goodbye is a goodbye. */
	if (f->closed)
		return HOLDER_CLOSED;
	/* Seen dead here, and nothing that still talks. */
	if (f->process == PROCESS_GONE && (!f->connected || f->lease_expired))
		return HOLDER_PID_GONE;
	/* It lives, and will never come back for this. */
	if (f->process == PROCESS_LET_GO && !f->connected)
		return HOLDER_LET_GO;
	/* Not to be seen from here: silence, long enough, while we were there to listen. */
	if (f->process == PROCESS_UNKNOWN && silent && grace_over && !f->server_just_restarted)
		return HOLDER_LEASE_OVER;
	return HOLDER_NO_EVIDENCE;
}

static void test_truth_table(void **state)
{
	static const enum process_state processes[] = { PROCESS_UNKNOWN, PROCESS_ALIVE,
		PROCESS_GONE, PROCESS_LET_GO };
	static const uint64_t expired[] = { 0, GRACE - 1, GRACE, UINT64_MAX };
	unsigned seen[5] = { 0 };

	(void)state;
	for (unsigned bits = 0; bits < 16; bits++) {
		for (unsigned p = 0; p < 4; p++) {
			for (unsigned e = 0; e < 4; e++) {
				struct holder_facts f = {
					.closed = bits & 1,
					.connected = bits & 2,
					.lease_expired = bits & 4,
					.server_just_restarted = bits & 8,
					.process = processes[p],
					.expired_for_ns = expired[e],
					.grace_ns = GRACE,
				};

				assert_int_equal(holder_judge(&f), expected(&f));
				seen[holder_judge(&f)]++;
			}
		}
	}
	for (unsigned i = 0; i < 5; i++)
		assert_true(seen[i] > 0);
}

/* The rows that matter most, without the help of a second implementation. */
static void test_never_dead(void **state)
{
	struct holder_facts f = { .process = PROCESS_ALIVE,
		.lease_expired = true,
		.expired_for_ns = UINT64_MAX,
		.grace_ns = GRACE };

	(void)state;
	assert_int_equal(holder_judge(&f), HOLDER_NO_EVIDENCE);
	f.process = PROCESS_UNKNOWN;
	f.connected = true;
	assert_int_equal(holder_judge(&f), HOLDER_NO_EVIDENCE);
	f.connected = false;
	f.server_just_restarted = true;
	assert_int_equal(holder_judge(&f), HOLDER_NO_EVIDENCE);
	f.server_just_restarted = false;
	assert_int_equal(holder_judge(&f), HOLDER_LEASE_OVER);
	f.process = PROCESS_GONE;
	f.server_just_restarted = true;
	assert_int_equal(holder_judge(&f), HOLDER_PID_GONE);
}

static void test_texts(void **state)
{
	(void)state;
	assert_string_equal(holder_evidence_text(HOLDER_CLOSED), "closed without freeing");
	assert_string_equal(holder_evidence_text(HOLDER_PID_GONE), "pid gone, boot id same");
	assert_string_equal(
		holder_evidence_text(HOLDER_LEASE_OVER), "lease past its grace, transport dead");
	assert_string_equal(holder_evidence_text(HOLDER_LET_GO),
		"pid same, session given up (killed just now, exec, or a lost close)");
	assert_non_null(holder_evidence_text((enum holder_evidence)77));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth_table),
		cmocka_unit_test(test_never_dead),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
