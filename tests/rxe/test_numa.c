/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory asked for on a node is on that node: by its address, by the report of the map, and by what
 * the kernel says of the arena's pages in a mapping of our own.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "rmem/rmem.h"
#include "tests/rxe/arena_page.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"

#define BLOCKS 6
#define BLOCK 300000ULL

static const json_t *find_block(const json_t *map, uint64_t addr)
{
	const json_t *block;
	size_t i;

	json_array_foreach(json_object_get(map, "blocks"), i, block)
	{
		if (strtoull(rig_text(block, "addr"), NULL, 16) == addr)
			return block;
	}
	fail_msg("the map has no block at 0x%" PRIx64, addr);
	return NULL;
}

static void check_block(struct rig *r, const json_t *map, uint64_t addr, unsigned node)
{
	const json_t *block = find_block(map, addr);

	assert_int_equal(rig_number(block, "node"), node);
	assert_true(rig_number(block, "pages_checked") > 0);
	assert_int_equal(rig_number(block, "pages_on_node"), rig_number(block, "pages_checked"));
	assert_int_equal(arena_page_node(r, addr, addr), (int)node);
}

/* The map as rmemctl prints it for programs. */
static json_t *printed_map(struct rig *r)
{
	static struct rig_output out;
	json_t *map;

	rig_ctl(r, (const char *const[]){ "map", "--json", NULL }, &out);
	assert_int_equal(out.status, 0);
	map = json_loads(out.out, 0, NULL);
	assert_non_null(map);
	return map;
}

static void test_memory_is_on_its_node(void **state)
{
	uint64_t addrs[2 * BLOCKS];
	struct rig *r = *state;
	struct client *c;
	json_t *map, *before;

	rig_start(r, NULL);
	before = rig_ask(r, "status");
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	for (unsigned i = 0; i < 2 * BLOCKS; i++) {
		addrs[i] = client_alloc(c, BLOCK, i < BLOCKS ? 1 : 0);
		client_fill(c, addrs[i], BLOCK, addrs[i]);
		if (i == BLOCKS - 1) /* so far node 0 has given nothing */
			assert_int_equal(rig_ask_number(r, "status", "nodes.0.free_bytes"),
				rig_number(before, "nodes.0.free_bytes"));
	}
	map = printed_map(r);
	for (unsigned i = 0; i < 2 * BLOCKS; i++)
		check_block(r, map, addrs[i], i < BLOCKS);
	for (unsigned node = 0; node < 2; node++) {
		char path[64];

		snprintf(path, sizeof(path), "nodes.%u.pages_elsewhere", node);
		assert_int_equal(rig_number(map, path), 0);
		snprintf(path, sizeof(path), "nodes.%u.pages_absent", node);
		assert_int_equal(rig_number(map, path), 0);
	}
	json_decref(before);
	json_decref(map);
	for (unsigned i = 0; i < 2 * BLOCKS; i++)
		client_free(c, addrs[i]);
	client_close(c);
	rig_stop(r, false);
}

/* A node that is full is full: its memory is not taken from another. */
static void test_full_node(void **state)
{
	struct client_order order = { .call = CLIENT_ALLOC, .bytes = 4 << 20, .node = 1 };
	uint64_t addrs[16];
	struct rig *r = *state;
	struct client *c;
	unsigned n = 0;

	rig_start(r, (const char *const[]){ "--size", "0:16M,1:8M", NULL });
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	while (client_do(c, &order)->err == 0) {
		assert_int_equal(addr_segment(c->last.addr), 1); /* the node's first */
		assert_true(n < 16);
		addrs[n++] = c->last.addr;
	}
	assert_int_equal(n, 2);
	assert_int_equal(c->last.err, -ENOSPC);
	if (!strstr(c->last.errinfo, "node 1"))
		fail_msg("does not name the node: %s", c->last.errinfo);
	order.node = 0;
	assert_int_equal(client_do(c, &order)->err, 0);
	addrs[n++] = c->last.addr;
	assert_int_equal(addr_segment(c->last.addr), 0);
	while (n)
		client_free(c, addrs[--n]);
	client_close(c);
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_memory_is_on_its_node),
		RIG_TEST(test_full_node),
	};

	if (argc > 1)
		return client_role(argc, argv);
	if (access("/sys/devices/system/node/node1", F_OK)) {
		fprintf(stderr, "skipped: one NUMA node only (scripts/softroce run --nodes 2)\n");
		return 77;
	}
	return rig_main(RIG_PORT_NUMA, tests, sizeof(tests) / sizeof(tests[0]));
}
