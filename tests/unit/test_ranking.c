/* SPDX-License-Identifier: BSD-3-Clause */
/* On which nodes memory is sought, and in which order: on paper, and on machines that hwloc describes. */
#include "tests/support/machines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "server/memory/facts.h"
#include "server/memory/numastat.h"
#include "server/memory/ranking.h"

#define STRICT PLACEMENT_STRICT

/* Four nodes in a line, 10 apart; node 2 has most free memory, 0 and 3 have as much. */
static const struct ranking_node line[] = {
	{ .node = 0, .free_bytes = 5 * GIB, .distance = 20 },
	{ .node = 1, .free_bytes = 1 * GIB, .distance = 10 },
	{ .node = 2, .free_bytes = 9 * GIB, .distance = 20 },
	{ .node = 5, .free_bytes = 5 * GIB, .distance = 30 },
};

/* "0 1 | 2": the wanted ones, and to what it falls back. */
static const char *show(const struct ranking *r)
{
	static char text[200];
	size_t used = 0;
	uint64_t mask = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < r->count; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%u", i ? " " : "",
			i == r->wanted ? "| " : "", r->nodes[i]);
		mask |= 1ULL << r->nodes[i];
	}
	assert_int_equal(r->mask, mask);
	return text;
}

struct asked {
	struct placement placement;
	int origin;
	unsigned turns;
	const char *order; /* NULL: err */
	int err;
	const char *sentence;
};

static void ask(const struct ranking_node *nodes, unsigned n, const struct asked *a)
{
	const struct ranking_question q = {
		.placement = &a->placement, .origin = a->origin, .turns = a->turns
	};
	struct ranking got = { .count = 77 };
	struct errinfo errinfo = { "" };
	const int err = ranking_make(&q, nodes, n, &got, &errinfo);

	if (a->order) {
		if (err)
			fail_msg("%s: %s", a->order, errinfo.text);
		assert_string_equal(show(&got), a->order);
		return;
	}
	assert_int_equal(err, a->err);
	assert_int_equal(got.count, 77);
	if (!strstr(errinfo.text, a->sentence))
		fail_msg("not '%s' but: %s", a->sentence, errinfo.text);
	assert_int_equal(ranking_make(&q, nodes, n, &got, NULL), a->err);
}

#define BITS(a, b) (1ULL << (a) | 1ULL << (b))

static void test_orders(void **state)
{
	static const struct asked cases[] = {
		{ { .policy = PLACEMENT_DEFAULT }, -1, 0, "2 0 5 1", 0, NULL },
		{ { .policy = PLACEMENT_DEFAULT | STRICT }, -1, 0, "2 0 5 1", 0, NULL },
		{ { .policy = PLACEMENT_DEFAULT, .nodes = 1 << 1 }, -1, 0, "1", 0, NULL },
		{ { .policy = PLACEMENT_BIND, .nodes = BITS(1, 5) }, -1, 0, "5 1", 0, NULL },
		{ { .policy = PLACEMENT_PREFERRED, .nodes = 1 << 1 }, -1, 0, "1 | 2 0 5", 0, NULL },
		{ { .policy = PLACEMENT_PREFERRED, .nodes = BITS(1, 5) }, -1, 0, "5 1 | 2 0", 0,
			NULL },
		{ { .policy = PLACEMENT_PREFERRED | STRICT, .nodes = 1 << 1 }, -1, 0, "1", 0,
			NULL },
		{ { .policy = PLACEMENT_INTERLEAVE }, -1, 0, "0 | 1 2 5", 0, NULL },
		{ { .policy = PLACEMENT_INTERLEAVE }, -1, 1, "1 | 2 5 0", 0, NULL },
		{ { .policy = PLACEMENT_INTERLEAVE }, -1, 3, "5 | 0 1 2", 0, NULL },
		{ { .policy = PLACEMENT_INTERLEAVE }, -1, 6, "0 | 1 2 5", 0, NULL },
		{ { .policy = PLACEMENT_INTERLEAVE }, -1, 64, "0 | 1 2 5", 0, NULL },
		{ { .policy = PLACEMENT_INTERLEAVE, .nodes = BITS(1, 5) }, -1, 2, "5 | 1 2 0", 0,
			NULL },
		{ { .policy = PLACEMENT_INTERLEAVE | STRICT, .nodes = BITS(1, 5) }, -1, 6, "1 | 5",
			0, NULL },
		{ { .policy = PLACEMENT_LOCAL }, 1, 0, "1 | 2 0 5", 0, NULL },
		{ { .policy = PLACEMENT_LOCAL | STRICT }, 1, 0, "1", 0, NULL },
		{ { .policy = PLACEMENT_NEAR }, 1, 0, "1 | 2 0 5", 0, NULL },
		{ { .policy = PLACEMENT_LOCAL }, -1, 0, "2 0 5 1", 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ask(line, 4, &cases[i]);
}

static void test_refusals(void **state)
{
	static const struct asked cases[] = {
		{ { .policy = PLACEMENT_POLICIES }, -1, 0, NULL, -EINVAL, "policy 7" },
		{ { .policy = PLACEMENT_BEST, .attribute = PLACEMENT_ATTRIBUTES }, -1, 0, NULL,
			-EINVAL, "attribute 4" },
		{ { .policy = PLACEMENT_BIND }, -1, 0, NULL, -EINVAL, "needs nodes" },
		{ { .policy = PLACEMENT_PREFERRED | STRICT }, -1, 0, NULL, -EINVAL, "needs nodes" },
		{ { .policy = PLACEMENT_DEFAULT, .nodes = BITS(1, 3) }, -1, 0, NULL, -EINVAL,
			"node 3" },
		{ { .policy = PLACEMENT_PREFERRED, .nodes = 1ULL << 63 }, -1, 0, NULL, -EINVAL,
			"node 63" },
		{ { .policy = PLACEMENT_LOCAL, .nodes = 1 }, 1, 0, NULL, -EINVAL, "does not take" },
		{ { .policy = PLACEMENT_BIND, .nodes = 1, .near = 5 }, 1, 0, NULL, -EINVAL,
			"does not take" },
		{ { .policy = PLACEMENT_BEST }, -1, 0, NULL, -EINVAL, "does not take" },
		{ { .policy = PLACEMENT_LOCAL, .attribute = PLACEMENT_CAPACITY }, 1, 0, NULL,
			-EINVAL, "does not take" },
		{ { .policy = PLACEMENT_LOCAL | STRICT }, -1, 0, NULL, -ENODEV,
			"to which NUMA node its RDMA device" },
		{ { .policy = PLACEMENT_LOCAL | STRICT }, 7, 0, NULL, -ENODEV, "node 7" },
		{ { .policy = PLACEMENT_BEST | STRICT, .attribute = PLACEMENT_LATENCY }, -1, 0,
			NULL, -ENODEV, "latency" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ask(line, 4, &cases[i]);
}

/* A NIC on a node that lends nothing, as one without memory: what is nearest is as good as local. */
static void test_origin_that_lends_nothing(void **state)
{
	const struct asked a = { { .policy = PLACEMENT_LOCAL }, 7, 0, "1 | 2 0 5", 0, NULL };

	(void)state;
	ask(line, 4, &a);
}

/* ---- machines ---- */

static void ask_machine(const struct topology *t, unsigned origin, const struct asked *a)
{
	struct ranking_node nodes[ADDR_MAX_NODES];
	const unsigned n = facts_of_all(t, nodes);

	for (unsigned i = 0; i < n; i++) {
		nodes[i].free_bytes = GIB;
		nodes[i].distance = topology_distance(t, origin, nodes[i].node);
	}
	ask(nodes, n, a);
}

static uint64_t best(const struct topology *t, unsigned attribute)
{
	struct ranking_node nodes[ADDR_MAX_NODES];
	const unsigned n = facts_of_all(t, nodes);

	return ranking_best(nodes, n, attribute);
}

/* Two packages, each with much ordinary memory (0, 2) and a little that is fast (1, 3). One is a bit larger. */
static void test_fast_and_large_memory(void **state)
{
	static const struct machine_memory memory[] = { { 0, 200000, 90 }, { 1, 800000, 120 },
		{ 2, 200000, 91 }, { 3, 790000, 119 } };
	static const struct asked fast = { { .policy = PLACEMENT_BEST,
						   .attribute = PLACEMENT_BANDWIDTH },
		-1, 0, "1 3 | 0 2", 0, NULL };
	static const struct asked quick = { { .policy = PLACEMENT_BEST,
						    .attribute = PLACEMENT_LATENCY },
		-1, 0, "0 2 | 3 1", 0, NULL };
	static const struct asked only_fast = { { .policy = PLACEMENT_BEST | STRICT,
							.attribute = PLACEMENT_BANDWIDTH },
		-1, 0, "1 3", 0, NULL };
	struct topology *t = machine_with(
		"pack:2 [numa(memory=68719476736)] [numa(memory=8589934592)] core:2 pu:1", memory,
		4);

	(void)state;
	assert_int_equal(topology_count(t), 4);
	assert_int_equal(topology_at(t, 1)->bandwidth_mib_s, 800000);
	assert_int_equal(topology_at(t, 1)->latency_ns, 120);
	assert_int_equal(best(t, PLACEMENT_CAPACITY), BITS(0, 2));
	assert_int_equal(best(t, PLACEMENT_BANDWIDTH), BITS(1, 3));
	assert_int_equal(best(t, PLACEMENT_LATENCY), BITS(0, 2));
	ask_machine(t, 0, &fast);
	ask_machine(t, 0, &quick);
	ask_machine(t, 0, &only_fast);
	topology_destroy(t);
}

/* All memory is the same: every node is best in what is known, and nothing is known of the rest. */
static void test_plain_memory(void **state)
{
	static const struct asked anywhere = { { .policy = PLACEMENT_BEST,
						       .attribute = PLACEMENT_BANDWIDTH },
		-1, 0, "0 1", 0, NULL };
	static const struct asked near_one = { { .policy = PLACEMENT_LOCAL }, 1, 0, "1 | 0", 0,
		NULL };
	struct topology *t = machine("pack:2 [numa(memory=8589934592)] core:2 pu:1");

	(void)state;
	assert_int_equal(best(t, PLACEMENT_CAPACITY), BITS(0, 1));
	assert_int_equal(best(t, PLACEMENT_BANDWIDTH), 0);
	assert_int_equal(best(t, PLACEMENT_LATENCY), 0);
	assert_int_equal(topology_distance(t, 0, 0), TOPOLOGY_LOCAL);
	assert_int_equal(topology_distance(t, 1, 0), TOPOLOGY_REMOTE);
	assert_int_equal(topology_distance(t, 1, 62), TOPOLOGY_REMOTE);
	ask_machine(t, 0, &anywhere);
	ask_machine(t, 1, &near_one);
	topology_destroy(t);
}

/*
 * A recorded machine: node 0 with 1 GiB, 1 with 512 MiB, 2 with a CPU and no memory, 3 with 512 MiB and no CPU, which has
 * twice the bandwidth and more than twice the latency.
 */
static void test_uneven_machine(void **state)
{
	static const struct asked fast = { { .policy = PLACEMENT_BEST,
						   .attribute = PLACEMENT_BANDWIDTH },
		-1, 0, "3 | 0 1", 0, NULL };
	static const struct asked quick = { { .policy = PLACEMENT_BEST,
						    .attribute = PLACEMENT_LATENCY },
		-1, 0, "0 1 | 3", 0, NULL };
	static const struct asked large = { { .policy = PLACEMENT_BEST,
						    .attribute = PLACEMENT_CAPACITY },
		-1, 0, "0 | 1 3", 0, NULL };
	static const struct asked near_three = { { .policy = PLACEMENT_LOCAL }, 3, 0, "3 | 1 0", 0,
		NULL };
	static const struct asked by_cpus_only = { { .policy = PLACEMENT_LOCAL }, 2, 0, "1 3 | 0",
		0, NULL };
	static const struct asked only_there = { { .policy = PLACEMENT_LOCAL | STRICT }, 2, 0, NULL,
		-ENODEV, "node 2" };
	static const struct asked named = { { .policy = PLACEMENT_BIND, .nodes = 1 << 2 }, -1, 0,
		NULL, -EINVAL, "node 2" };
	struct topology *t = machine_of_file(TESTS_DIR "/unit/machines/uneven.xml");

	(void)state;
	assert_int_equal(topology_count(t), 3);
	assert_null(topology_find(t, 2));
	assert_int_equal(topology_find(t, 3)->bandwidth_mib_s, 19456);
	assert_int_equal(topology_find(t, 0)->latency_ns, 100);
	assert_int_equal(topology_distance(t, 3, 1), 30);
	ask_machine(t, 0, &fast);
	ask_machine(t, 0, &quick);
	ask_machine(t, 0, &large);
	ask_machine(t, 3, &near_three);
	/* A NIC on the node without memory: what is nearest. */
	ask_machine(t, 2, &by_cpus_only);
	ask_machine(t, 2, &only_there);
	ask_machine(t, 2, &named);
	topology_destroy(t);
}

/* ---- counting ---- */

static void lend(struct numastat stats[ADDR_MAX_NODES], const struct placement *p, unsigned turns,
	unsigned node, int nic)
{
	const struct ranking_question q = { .placement = p, .origin = nic, .turns = turns };
	struct ranking r;

	assert_int_equal(ranking_make(&q, line, 4, &r, NULL), 0);
	numastat_count(stats, p, &r, node, nic);
}

static void assert_counts(const struct numastat *s, uint64_t hit, uint64_t miss, uint64_t foreign,
	uint64_t interleave, uint64_t local, uint64_t other)
{
	assert_int_equal(s->numa_hit, hit);
	assert_int_equal(s->numa_miss, miss);
	assert_int_equal(s->numa_foreign, foreign);
	assert_int_equal(s->interleave_hit, interleave);
	assert_int_equal(s->local_node, local);
	assert_int_equal(s->other_node, other);
}

static void test_counting(void **state)
{
	static const struct placement any = { 0 },
				      preferred = { .policy = PLACEMENT_PREFERRED, .nodes = 2 },
				      turns = { .policy = PLACEMENT_INTERLEAVE };
	struct numastat stats[ADDR_MAX_NODES] = { { 0 } };

	(void)state;
	/* Without a wish, each node is a hit; by a NIC that nobody knows, no node is local. */
	lend(stats, &any, 0, 5, RANKING_NOWHERE);
	assert_counts(&stats[5], 1, 0, 0, 0, 0, 0);
	lend(stats, &preferred, 0, 1, 1);
	assert_counts(&stats[1], 1, 0, 0, 0, 1, 0);
	lend(stats, &preferred, 0, 0, 1);
	assert_counts(&stats[0], 0, 1, 0, 0, 0, 1);
	assert_counts(&stats[1], 1, 0, 1, 0, 1, 0);
	/* It was 2's turn. */
	lend(stats, &turns, 2, 2, RANKING_NOWHERE);
	assert_counts(&stats[2], 1, 0, 0, 1, 0, 0);
	lend(stats, &turns, 2, 5, RANKING_NOWHERE);
	assert_counts(&stats[5], 1, 1, 0, 0, 0, 0);
	assert_counts(&stats[2], 1, 0, 1, 1, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_origin_that_lends_nothing),
		cmocka_unit_test(test_fast_and_large_memory),
		cmocka_unit_test(test_plain_memory),
		cmocka_unit_test(test_uneven_machine),
		cmocka_unit_test(test_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
