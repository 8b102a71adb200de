/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call that librmem makes to verbs, to the connection manager, and for memory, descriptors and
 * threads fails once, at every place from which it is made: the call of librmem returns an error that
 * rmem.h names, the next try works, every byte is right, and in the end nothing is left: no object, no
 * memory, no file, no session at the server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/fault/driver.h"

#define LIMIT 3 /* runs for one kind, if it is not called from more places */

/* librmem does not call these. */
static const enum fault_kind absent[] = { FAULT_malloc, FAULT_posix_memalign, FAULT_aligned_alloc,
	FAULT_ibv_query_port, FAULT_ibv_query_gid, FAULT_ibv_create_qp, FAULT_ibv_alloc_mw,
	FAULT_rdma_listen, FAULT_rdma_accept, FAULT_rdma_reject, FAULT_ibv_destroy_qp,
	FAULT_ibv_dealloc_mw, FAULT_NONE };

#define KEPT_MAPPINGS 1 /* by the process, for good: the page that tells it from its children */

/* What the fault leaves to be expected: the very thing that would not end, and what holds it. */
static unsigned judge_left(
	struct rig *r, const struct fault_plan *plan, enum fault_kind kind, const char *about)
{
	bool stuck = fault_ends[kind] && plan->fired;

	for (int i = 0; i < FAULT_OBJECTS; i++) {
		bool memory = i == FAULT_OBJECT_heap || i == FAULT_OBJECT_mapping ||
			      i == FAULT_OBJECT_thread;
		long long left = plan->live[i];

		if (i == FAULT_OBJECT_mapping)
			left -= KEPT_MAPPINGS;
		if (left == 0 || (stuck && !memory && left > 0))
			continue;
		fault_complain(r, plan, FAULT_SCENARIO, about, "%lld left of kind %s", left,
			fault_object_names[i]);
		return 1;
	}
	if (plan->unacknowledged == 0)
		return 0;
	fault_complain(r, plan, FAULT_SCENARIO, about, "%lld CQ events not acknowledged",
		(long long)plan->unacknowledged);
	return 1;
}

static unsigned run_one(struct rig *r, enum fault_kind kind, uint64_t n, int files, bool *fired)
{
	char path[128], about[96];
	struct fault_plan *plan = fault_share(r, "plan", path);
	unsigned wrong;

	if (fault_ends[kind])
		files = -1; /* what does not end keeps its descriptor */
	snprintf(about, sizeof(about), "%s call %llu", fault_names[kind], (unsigned long long)n);
	fault_plan_arm(plan, kind, n);
	wrong = !fault_scenario(r, "client", files, plan, path, about);
	if (!wrong)
		wrong = judge_left(r, plan, kind, about);
	*fired = plan->fired;
	fault_unshare(plan);
	return wrong;
}

struct tally {
	unsigned runs, fired, wrong;
	uint64_t slowest, slowest_ns; /* call, and what it took */
};

/*
 * All these calls fail in one run, each the first from its place. Leaves in chosen those of places that it did not reach;
 * all, if it ended wrong: alone, each shows whether it was the cause. Returns how many.
 */
static size_t run_together(struct rig *r, const struct fault_plan *counted, enum fault_kind kind,
	uint64_t chosen[], size_t n, int files, struct tally *t)
{
	char path[128], about[96];
	struct fault_plan *plan = fault_share(r, "plan", path);
	size_t left = 0;
	bool good;

	assert_true(n <= FAULT_TARGETS);
	snprintf(about, sizeof(about), "%s at %zu places, one after the other", fault_names[kind],
		n);
	plan->depth = fault_depth();
	for (size_t i = 0; i < n; i++)
		plan->targets[i] = counted->points[kind][chosen[i] - 1];
	plan->ntargets = (uint32_t)n;
	fault_plan_arm(plan, kind, 0);
	good = fault_scenario(r, "client", files, plan, path, about) &&
	       judge_left(r, plan, kind, about) == 0;
	for (size_t i = 0; i < n; i++)
		if (!good || !plan->hit[i])
			chosen[left++] = chosen[i];
	t->runs++;
	t->fired += plan->fired;
	t->wrong += !good;
	fault_unshare(plan);
	return left;
}

static void try_kind(struct rig *r, const struct fault_plan *counted, enum fault_kind kind,
	int files, struct tally *all)
{
	static uint64_t chosen[FAULT_CHOSEN_MAX];
	uint64_t total = counted->counts[kind] - counted->base[kind], began = clock_boot_ns();
	struct tally t = { 0 };
	size_t places, n;

	n = fault_choose(counted, kind, fault_limit(LIMIT), chosen, &places);
	if (fault_only_n()) {
		chosen[0] = fault_only_n();
		n = 1;
	}
	for (size_t before = 0; n > 1 && n != before && fault_in_one_run(kind);) {
		before = n;
		n = run_together(r, counted, kind, chosen, n, files, &t);
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t from = clock_boot_ns(), took;
		bool fired;

		t.wrong += run_one(r, kind, chosen[i], files, &fired);
		t.runs++;
		t.fired += fired;
		took = clock_boot_ns() - from;
		if (took > t.slowest_ns) {
			t.slowest_ns = took;
			t.slowest = chosen[i];
		}
	}
	if (total)
		printf("%-26s %6llu calls %4zu places %4u runs %4u failed %3u wrong %6llu ms "
		       "(slowest: call %llu, %llu ms)\n",
			fault_names[kind], (unsigned long long)total, places, t.runs, t.fired,
			t.wrong, (unsigned long long)((clock_boot_ns() - began) / NSEC_PER_MSEC),
			(unsigned long long)t.slowest,
			(unsigned long long)(t.slowest_ns / NSEC_PER_MSEC));
	t.wrong += !fault_happened(kind, absent, total, t.fired);
	all->runs += t.runs;
	all->fired += t.fired;
	all->wrong += t.wrong;
}

static void test_every_call(void **state)
{
	struct rig *r = *state;
	struct tally all = { 0 };
	char path[128];
	struct fault_plan *counted = fault_share(r, "counted", path);
	json_t *leaks;
	int files, kinds = 0;

	rig_start(r, NULL);
	/* Twice: the first client has all call sites named but the one that depends on the run, which each names itself. */
	assert_true(fault_scenario(r, "client", -1, counted, path, "unharmed"));
	fault_unshare(counted);
	counted = fault_share(r, "counted", path);
	counted->depth = fault_depth();
	fault_plan_arm(counted, FAULT_NONE, 0);
	assert_true(fault_scenario(r, "client", -1, counted, path, "counting"));
	files = fault_printed(r);
	assert_int_equal(judge_left(r, counted, FAULT_NONE, "counting"), 0);
	for (int kind = FAULT_NONE + 1; kind < FAULT_KINDS; kind++)
		if (fault_wanted(kind)) {
			try_kind(r, counted, kind, files, &all);
			kinds++;
		}
	assert_true(kinds > 0);
	printf("%u runs, in which %u calls failed, %u ended wrong\n", all.runs, all.fired,
		all.wrong);
	fault_unshare(counted);

	leaks = rig_ask(r, "leaks");
	rig_assert_accounted(leaks);
	json_decref(leaks);
	rig_await_no_session(r);
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 0);
	assert_int_equal(all.wrong, 0);
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_every_call),
	};

	return rig_main(RIG_PORT_FAULT, tests, sizeof(tests) / sizeof(tests[0]));
}
