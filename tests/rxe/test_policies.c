/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory is where a policy wants it, by its address and by what the kernel says of the pages; and numastat counts what
 * is not. On four nodes that are not alike: node 0 with most memory, 1 with less, 2 with a CPU and no memory, 3 with fast memory
 * and no CPU (scripts/softroce run --nodes 1G:1,512M:1,0:1,512M:0).
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "rmem/rmem.h"
#include "tests/rxe/arena_page.h"
#include "tests/rxe/client.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/pattern.h"

#define SIZES ((const char *const[]){ "--size", "0:16M,1:4M,3:8M", NULL })
#define BYTES (1 * MIB)
#define BITS(a, b) (1ULL << (a) | 1ULL << (b))

static struct rmem_alloc_attr policy(uint32_t policy, uint64_t nodes)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;

	attr.policy = policy;
	attr.nodes = nodes;
	return attr;
}

static unsigned node_of(struct rmem *rm, rmem_addr_t addr)
{
	struct rmem_stat stat = { .size = sizeof(stat) };

	lib_succeed(rmem_stat(rm, addr, &stat));
	return stat.node;
}

/* Lend, write, and see on which node the bytes are. */
static unsigned place(
	struct rig *r, struct rmem *rm, const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	static char bytes[4096];
	rmem_addr_t addr = 0;
	unsigned node;

	lib_succeed(rmem_alloc(rm, BYTES, attr, &addr));
	pattern_fill(bytes, sizeof(bytes), addr);
	lib_succeed(rmem_write(rm, addr, bytes, sizeof(bytes)));
	node = node_of(rm, addr);
	assert_int_equal(arena_page_node(r, addr, addr), (int)node);
	if (out)
		*out = addr;
	else
		lib_succeed(rmem_free(rm, addr));
	return node;
}

static long long counted(struct rig *r, unsigned node, const char *word)
{
	/* 0, 1 and 3 are in this order. */
	char path[64];

	snprintf(path, sizeof(path), "nodes.%u.%s", node == 3 ? 2 : node, word);
	return rig_ask_number(r, "numastat", path);
}

static void test_named_nodes(void **state)
{
	struct rmem_alloc_attr bind = policy(RMEM_POLICY_BIND, BITS(1, 3));
	struct rmem_alloc_attr preferred = policy(RMEM_POLICY_PREFERRED, 1ULL << 1);
	struct rmem_alloc_attr strict = policy(RMEM_POLICY_PREFERRED | RMEM_POLICY_STRICT, 2);
	struct rmem_alloc_attr none = policy(RMEM_POLICY_BIND, 1ULL << 2);
	struct rmem_alloc_attr old = { .size = offsetof(struct rmem_alloc_attr, policy),
		.node = 3 };
	rmem_addr_t held[16], addr = 77;
	struct rig *r = *state;
	struct rmem *rm;
	unsigned n = 0;

	rig_start(r, SIZES);
	rm = lib_open(r->server, 0);
	assert_int_equal(place(r, rm, NULL, NULL), 0);
	assert_int_equal(place(r, rm, &bind, NULL), 3);
	assert_int_equal(place(r, rm, &old, NULL), 3);
	lib_expect(rmem_alloc(rm, BYTES, &none, &addr), -EINVAL, "node 2");
	/* Node 1 gives what it has, then others do, and that is counted. */
	while (place(r, rm, &preferred, &held[n]) == 1)
		assert_true(++n < 16);
	assert_int_equal(n, 4);
	assert_int_equal(node_of(rm, held[n++]), 0);
	assert_int_equal(counted(r, 1, "numa_hit"), 4);
	assert_int_equal(counted(r, 1, "numa_foreign"), 1);
	assert_int_equal(counted(r, 0, "numa_miss"), 1);
	lib_expect(rmem_alloc(rm, BYTES, &strict, &addr), -ENOSPC, "the node 1 is full");
	/* Of two, the one with room serves; when neither has, both are named. */
	while ((addr = 77, rmem_alloc(rm, BYTES, &bind, &held[n])) == 0) {
		assert_int_equal(node_of(rm, held[n]), 3);
		assert_true(++n < 16);
	}
	lib_expect(rmem_alloc(rm, BYTES, &bind, &addr), -ENOSPC, "the nodes 1, 3 are full");
	assert_int_equal(addr, 77);
	while (n)
		lib_succeed(rmem_free(rm, held[--n]));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

static void test_turns_and_neighbours(void **state)
{
	static const unsigned all[] = { 0, 1, 3, 0, 1 }, two[] = { 3, 1, 3 };
	struct rmem_alloc_attr turns = policy(RMEM_POLICY_INTERLEAVE, 0), near_one, remote;
	struct rmem_alloc_attr some = policy(RMEM_POLICY_INTERLEAVE, BITS(1, 3));
	struct rmem_alloc_attr on_three = policy(RMEM_POLICY_BIND, 1ULL << 3);
	struct rmem_share_key key;
	struct rmem *rm, *other;
	struct rig *r = *state;
	rmem_addr_t addr, shared, nobodys = 0;

	rig_start(r, SIZES);
	rm = lib_open(r->server, 0);
	other = lib_open(r->server, 0);
	/* Each session has its own turns. */
	assert_int_equal(place(r, other, &turns, NULL), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(place(r, rm, &turns, NULL), all[i]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(place(r, rm, &some, NULL), two[i]);
	assert_int_equal(place(r, other, &turns, NULL), 1);
	assert_int_equal(counted(r, 0, "interleave_hit"), 3);
	assert_int_equal(counted(r, 1, "interleave_hit"), 4);
	assert_int_equal(counted(r, 3, "interleave_hit"), 3);
	/* Near what is its own, and near what another session shares. */
	assert_int_equal(place(r, rm, &on_three, &addr), 3);
	near_one = policy(RMEM_POLICY_NEAR | RMEM_POLICY_STRICT, 0);
	near_one.near_addr = addr + BYTES - 1;
	assert_int_equal(place(r, rm, &near_one, NULL), 3);
	assert_int_equal(place(r, other, &on_three, &shared), 3);
	remote = policy(RMEM_POLICY_NEAR, 0);
	remote.near_addr = shared;
	lib_expect(rmem_alloc(rm, BYTES, &remote, &nobodys), -EINVAL, "near_addr");
	lib_succeed(rmem_share(other, shared, &key));
	lib_succeed(rmem_attach(rm, shared, &key, NULL));
	assert_int_equal(place(r, rm, &remote, NULL), 3);
	lib_succeed(rmem_detach(rm, shared));
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_free(other, shared));
	lib_succeed(rmem_close(other));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* soft-RoCE over an interface that is no PCI device is attached to no node. */
static void test_unknown_locality(void **state)
{
	struct rmem_alloc_attr local = policy(RMEM_POLICY_LOCAL, 0);
	struct rmem_alloc_attr strict = policy(RMEM_POLICY_LOCAL | RMEM_POLICY_STRICT, 0);
	static struct rig_output out;
	struct rig *r = *state;
	rmem_addr_t addr = 77;
	struct rmem *rm;

	rig_start(r, SIZES);
	rm = lib_open(r->server, 0);
	assert_int_equal(place(r, rm, &local, NULL), 0);
	lib_expect(rmem_alloc(rm, BYTES, &strict, &addr), -ENODEV, "RDMA device is attached");
	assert_int_equal(addr, 77);
	assert_int_equal(counted(r, 0, "numa_hit"), 1);
	assert_int_equal(counted(r, 0, "local_node") + counted(r, 0, "other_node"), 0);
	rig_ctl(r, (const char *const[]){ "status", NULL }, &out);
	if (!strstr(out.out, "unknown region"))
		fail_msg("status does not say that the locality is unknown: %s", out.out);
	rig_ctl(r, (const char *const[]){ "numastat", NULL }, &out);
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.out, "           node0           node1           node3\n"));
	lib_succeed(rmem_alloc(rm, 60, NULL, &addr));
	rig_ctl(r, (const char *const[]){ "slabinfo", NULL }, &out);
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.out, "\nrmem-64 "));
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* What the firmware says of the nodes' memory: --size and policies go by it. */
static void test_good_memory(void **state)
{
	struct rmem_alloc_attr fast = policy(RMEM_POLICY_BEST, 0), quick = fast, large = fast;
	static struct rig_output out;
	struct rig *r = *state;
	rmem_addr_t addr = 77;
	struct rmem *rm;

	fast.attribute = RMEM_MEMORY_BANDWIDTH;
	quick.attribute = RMEM_MEMORY_LATENCY;
	large.attribute = RMEM_MEMORY_CAPACITY;
	assert_int_equal(rig_start_refused(r, (const char *const[]){ "--size", "2:4M", NULL }), 3);
	rig_start(r, (const char *const[]){ "--size", "latency:8M,bandwidth:8M", NULL });
	assert_int_equal(rig_ask_number(r, "status", "nodes.0.registered_bytes"), 4 * MIB);
	assert_int_equal(rig_ask_number(r, "status", "nodes.1.registered_bytes"), 4 * MIB);
	assert_int_equal(rig_ask_number(r, "status", "nodes.2.node"), 3);
	assert_int_equal(rig_ask_number(r, "status", "nodes.2.registered_bytes"), 8 * MIB);
	rm = lib_open(r->server, 0);
	assert_int_equal(place(r, rm, &fast, NULL), 3);
	assert_int_equal(place(r, rm, &quick, NULL), 0);
	assert_int_equal(place(r, rm, &large, NULL), 0);
	fast.policy |= RMEM_POLICY_STRICT;
	lib_expect(rmem_alloc(rm, 16 * MIB, &fast, &addr), -EFBIG, "8.0 MiB");
	rig_ctl(r, (const char *const[]){ "buddyinfo", NULL }, &out);
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.out, "Node 3, zone     rmem      0 "));
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_named_nodes),
		RIG_TEST(test_turns_and_neighbours),
		RIG_TEST(test_unknown_locality),
		RIG_TEST(test_good_memory),
	};

	if (argc > 1)
		return client_role(argc, argv);
	if (access("/sys/devices/system/node/node3", F_OK)) {
		fprintf(stderr, "skipped: fewer than 4 NUMA nodes (scripts/softroce run --nodes "
				"1G:1,512M:1,0:1,512M:0)\n");
		return 77;
	}
	return rig_main(RIG_PORT_POLICIES, tests, sizeof(tests) / sizeof(tests[0]));
}
