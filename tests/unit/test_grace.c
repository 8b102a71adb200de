/* SPDX-License-Identifier: BSD-3-Clause */
/* Grace periods: they end when what had begun before has ended, and not before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "client/base/grace.h"

static void without_operations_a_period_ends_at_once(void **state)
{
	struct grace g;
	struct grace_member m = { 0 };

	(void)state;
	grace_init(&g);
	assert_true(grace_has_ended(&g, grace_begin(&g)));
	grace_join(&g, &m);
	grace_add(&m.begun, 3);
	grace_add(&m.ended, 3);
	assert_true(grace_has_ended(&g, grace_begin(&g)));
	grace_leave(&g, &m, true);
	grace_destroy(&g);
}

static void it_waits_for_what_had_begun(void **state)
{
	struct grace g;
	struct grace_member busy = { 0 }, idle = { 0 };
	uint64_t first, second;

	(void)state;
	grace_init(&g);
	grace_join(&g, &busy);
	grace_join(&g, &idle);
	grace_add(&busy.begun, 1);
	first = grace_begin(&g);
	assert_false(grace_has_ended(&g, first));
	/* What begins later on either does not matter to it, but to the next. */
	grace_add(&busy.begun, 1);
	grace_add(&idle.begun, 1);
	second = grace_begin(&g);
	assert_true(second > first);
	assert_int_equal(grace_begin(&g), second);
	grace_add(&busy.ended, 1);
	assert_true(grace_has_ended(&g, first));
	assert_false(grace_has_ended(&g, second));
	grace_add(&idle.ended, 1);
	assert_false(grace_has_ended(&g, second));
	grace_add(&busy.ended, 1);
	assert_true(grace_has_ended(&g, second));
	grace_leave(&g, &busy, true);
	grace_leave(&g, &idle, true);
	grace_destroy(&g);
}

/* A grace period is over once all operations that had begun have ended; until then a caller that asks waits. */
static void it_is_over_when_nothing_is_on_its_way(void **state)
{
	struct grace g;
	struct grace_member m = { 0 };

	(void)state;
	grace_init(&g);
	assert_true(grace_is_over(&g));
	grace_join(&g, &m);
	grace_add(&m.begun, 2);
	grace_add(&m.ended, 1);
	assert_false(grace_is_over(&g));
	grace_add(&m.ended, 1);
	assert_true(grace_is_over(&g));
	grace_add(&m.begun, 1);
	atomic_store(&m.lost, m.begun);
	assert_false(grace_is_held_up(&g));
	assert_false(grace_is_over(&g));
	assert_true(grace_is_held_up(&g));
	grace_settle(&g);
	assert_true(grace_is_over(&g));
	grace_lose(&g);
	assert_false(grace_is_over(&g));
	grace_settle(&g);
	assert_true(grace_is_over(&g));
	grace_leave(&g, &m, true);
	grace_destroy(&g);
}

static void a_member_that_leaves_unsettled_holds_it_up(void **state)
{
	struct grace g;
	struct grace_member m = { 0 }, other = { 0 };
	uint64_t period;

	(void)state;
	grace_init(&g);
	grace_join(&g, &m);
	grace_join(&g, &other);
	grace_add(&m.begun, 1);
	period = grace_begin(&g);
	grace_leave(&g, &m, false);
	assert_false(grace_has_ended(&g, period));
	grace_settle(&g);
	assert_true(grace_has_ended(&g, period));
	grace_leave(&g, &other, true);
	grace_destroy(&g);
}

static void what_is_given_up_holds_it_up_until_it_is_settled(void **state)
{
	struct grace g;
	struct grace_member m = { 0 };
	uint64_t period;

	(void)state;
	grace_init(&g);
	grace_join(&g, &m);
	grace_add(&m.begun, 2);
	period = grace_begin(&g);
	grace_settle(&g);
	assert_false(grace_has_ended(&g, period));
	atomic_store(&m.lost, 2);
	assert_false(grace_has_ended(&g, period));
	grace_add(&m.begun, 1); /* which is not forgiven with them */
	grace_settle(&g);
	assert_true(grace_has_ended(&g, period));
	assert_false(grace_has_ended(&g, grace_begin(&g)));
	grace_leave(&g, &m, true);
	grace_destroy(&g);
}

/* Held up is what only grace_settle() ends: not what ends by itself, and not what nobody waits for. */
static void held_up_is_what_only_settling_ends(void **state)
{
	struct grace g;
	struct grace_member m = { 0 }, other = { 0 };
	uint64_t period;

	(void)state;
	grace_init(&g);
	grace_join(&g, &m);
	grace_join(&g, &other);
	grace_add(&m.begun, 2);
	atomic_store(&m.lost, 1);
	assert_false(grace_is_held_up(&g)); /* no period runs */
	grace_add(&other.begun, 1);
	period = grace_begin(&g);
	assert_false(
		grace_is_held_up(&g)); /* the second one is on its way, and that of the other */
	atomic_store(&m.lost, 2);
	assert_false(grace_is_held_up(&g));
	grace_add(&other.ended, 1);
	assert_true(grace_is_held_up(&g));
	grace_settle(&g);
	assert_false(grace_is_held_up(&g));
	assert_true(grace_has_ended(&g, period));
	grace_add(&m.begun, 1);
	(void)grace_begin(&g);
	grace_leave(&g, &m, false);
	assert_true(grace_is_held_up(&g));
	grace_settle(&g);
	assert_false(grace_is_held_up(&g));
	/* It has lost something once, and that is settled. */
	grace_add(&other.begun, 1);
	atomic_store(&other.lost, 2);
	grace_settle(&g);
	(void)grace_begin(&g);
	grace_leave(&g, &other, false);
	assert_false(grace_is_held_up(&g));
	grace_destroy(&g);
}

static void a_member_that_joins_is_not_waited_for(void **state)
{
	struct grace g;
	struct grace_member m = { 0 }, late = { 0 };
	uint64_t period;

	(void)state;
	grace_init(&g);
	grace_join(&g, &m);
	grace_add(&m.begun, 1);
	period = grace_begin(&g);
	grace_add(&late.begun, 5);
	grace_join(&g, &late);
	grace_add(&m.ended, 1);
	assert_true(grace_has_ended(&g, period));
	grace_leave(&g, &m, true);
	grace_leave(&g, &late, false);
	grace_destroy(&g);
}

#define MEMBERS 5
#define WAITS 8
#define STEPS 200000

/* What each wait has to see ended, kept apart. */
struct promise {
	uint64_t period, begun[MEMBERS];
};

static void it_keeps_its_promise(void **state)
{
	struct grace g;
	struct grace_member m[MEMBERS] = { 0 };
	struct promise waits[WAITS] = { 0 };
	unsigned ended = 0;

	(void)state;
	srand(1);
	grace_init(&g);
	for (int i = 0; i < MEMBERS; i++)
		grace_join(&g, &m[i]);
	for (int step = 0; step < STEPS; step++) {
		struct grace_member *one = &m[rand() % MEMBERS];
		struct promise *w = &waits[rand() % WAITS];

		switch (rand() % 6) {
		case 0:
			grace_add(&one->begun, 1);
			break;
		case 1: /* more often than they begin */
		case 2:
			if (one->ended < one->begun)
				grace_add(&one->ended, 1);
			break;
		case 3:
			if (!w->period) {
				for (int i = 0; i < MEMBERS; i++)
					w->begun[i] = m[i].begun;
				w->period = grace_begin(&g);
			}
			break;
		default:
			if (!w->period || !grace_has_ended(&g, w->period))
				break;
			for (int i = 0; i < MEMBERS; i++)
				assert_true(m[i].ended >= w->begun[i]);
			w->period = 0;
			ended++;
		}
	}
	assert_true(ended > STEPS / 100);
	for (int i = 0; i < MEMBERS; i++)
		grace_leave(&g, &m[i], true);
	for (int i = 0; i < WAITS; i++)
		assert_true(!waits[i].period || grace_has_ended(&g, waits[i].period));
	grace_destroy(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_operations_a_period_ends_at_once),
		cmocka_unit_test(it_waits_for_what_had_begun),
		cmocka_unit_test(it_is_over_when_nothing_is_on_its_way),
		cmocka_unit_test(a_member_that_leaves_unsettled_holds_it_up),
		cmocka_unit_test(what_is_given_up_holds_it_up_until_it_is_settled),
		cmocka_unit_test(held_up_is_what_only_settling_ends),
		cmocka_unit_test(a_member_that_joins_is_not_waited_for),
		cmocka_unit_test(it_keeps_its_promise),
	};

	return cmocka_run_group_tests_name("grace", tests, NULL, NULL);
}
