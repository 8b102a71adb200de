/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory asked for on a node is on that node: on a machine with several (scripts/softroce run --nodes 2).
 * Skipped (77) on a machine with one. Needs no RDMA device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/units.h"
#include "numa/pages.h"
#include "numa/place.h"
#include "numa/topology.h"
#include "tests/support/arenas.h"
#include "server/memory/limits.h"

#define POOL 0x123ULL

static struct topology *topology;

static int make_dir(char *path)
{
	assert_non_null(mkdtemp(path));
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void assert_all_on(const struct arena *a, unsigned node)
{
	struct pages_count count;

	assert_int_equal(pages_locate(a->base, a->bytes, a->page_bytes, node, 0, &count), 0);
	assert_int_equal(count.checked, a->bytes / a->page_bytes);
	assert_int_equal(count.on_node, count.checked);
	assert_int_equal(count.elsewhere + count.absent, 0);
}

/* Whoever touches it first, and after a restart too. */
static void test_every_node_gets_its_own_pages(void **state)
{
	char path[] = "/dev/shm/rmem-numa-XXXXXX";
	int dir = make_dir(path);

	(void)state;
	assert_true(dir >= 0);
	for (size_t i = 0; i < topology_count(topology); i++) {
		unsigned node = topology_at(topology, i)->node;
		unsigned other = topology_at(topology, (i + 1) % topology_count(topology))->node;
		struct arena_config config = { .data_dir = dir,
			.node = node,
			.pool = POOL,
			.bytes = 70 * MIB,
			.topology = topology };
		struct arena a = { 0 };
		struct errinfo errinfo = { "" };
		struct pages_count count;

		assert_int_equal(place_thread(topology, other), 0);
		if (arena_make_ready(&a, config, &errinfo) != 0)
			fail_msg("%s", errinfo.text);
		assert_all_on(&a, node);
		assert_int_equal(pages_locate(a.base, a.bytes, 4096, other, 100, &count), 0);
		assert_int_equal(count.elsewhere, 100);
		memset(a.base, 'n', a.bytes);
		arena_close(&a);
		assert_int_equal(arena_make_ready(&a, config, &errinfo), 0);
		assert_int_equal(a.base[a.bytes - 1], 'n');
		assert_int_equal(arena_wipe(&a, 0, a.bytes), 0);
		assert_all_on(&a, node);
		arena_close(&a);
		assert_int_equal(arena_remove(dir, node, node, POOL), 0);
	}
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

/* What the node cannot give is an error before anything is taken, with the other node still free. */
static void test_more_than_a_node_has_is_refused(void **state)
{
	char path[] = "/dev/shm/rmem-numa-XXXXXX";
	int dir = make_dir(path);
	const struct topology_node *n = topology_at(topology, 1);
	struct sizes sizes = { 1, { { n->node, n->total_bytes + 4096 } } };
	struct limits limits;
	struct errinfo errinfo = { "" };

	(void)state;
	assert_true(dir >= 0);
	topology_refresh(topology);
	assert_int_equal(limits_read(dir, &limits, &errinfo), 0);
	assert_int_equal(limits_check(topology, &limits, &sizes, &errinfo), -ENOMEM);
	sizes.nodes[0].bytes = n->free_bytes + 4096;
	if (sizes.nodes[0].bytes <= n->total_bytes)
		assert_int_equal(limits_check(topology, &limits, &sizes, &errinfo), -ENOMEM);
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

/* Ask one node's pool for n huge pages; how many it has then. */
static uint64_t reserve_huge(unsigned node, unsigned n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path),
		"/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/nr_hugepages", node);
	f = fopen(path, "w");
	if (!f)
		return 0;
	fprintf(f, "%u\n", n);
	fclose(f);
	topology_refresh(topology);
	for (size_t i = 0; i < topology_find(topology, node)->nhuge; i++) {
		const struct topology_huge *h = &topology_find(topology, node)->huge[i];

		if (h->page_bytes == 2 * MIB)
			return h->free_pages;
	}
	return 0;
}

/* Huge pages of one node: its arena is made of them, and one page more is an error, not SIGBUS. */
static void test_huge_pages(void **state)
{
	const unsigned node = topology_at(topology, 1)->node;
	char path[] = "/dev/shm/rmem-huge-XXXXXX";
	struct arena_config config = {
		.node = node, .pool = POOL, .bytes = 16 * MIB, .topology = topology
	};
	struct arena a = { 0 };
	struct limits limits;
	struct sizes sizes;
	struct errinfo errinfo = { "" };

	(void)state;
	if (reserve_huge(node, 8) < 8 || reserve_huge(topology_at(topology, 0)->node, 4) < 4)
		skip();
	assert_non_null(mkdtemp(path));
	if (mount("hugetlbfs", path, "hugetlbfs", 0, "pagesize=2M") != 0)
		skip();
	config.data_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(limits_read(config.data_dir, &limits, &errinfo), 0);
	assert_true(limits.huge);
	assert_int_equal(limits.fs_free_bytes, LIMITS_NONE);
	assert_int_equal(sizes_default(topology, &limits, &sizes, &errinfo), 0);
	assert_int_equal(sizes.count, 2);
	assert_int_equal(sizes.nodes[1].bytes, 16 * MIB);

	if (arena_make_ready(&a, config, &errinfo) != 0)
		fail_msg("%s", errinfo.text);
	assert_int_equal(a.page_bytes, 2 * MIB);
	assert_all_on(&a, node);
	arena_close(&a);
	assert_int_equal(arena_remove(config.data_dir, node, node, POOL), 0);

	/* The machine has 12 free huge pages, but this node only 8. */
	config.bytes = 18 * MIB;
	sizes.nodes[1].bytes = config.bytes;
	topology_refresh(topology);
	assert_int_equal(limits_check(topology, &limits, &sizes, &errinfo), -ENOMEM);
	assert_int_equal(arena_make_ready(&a, config, &errinfo), -ENOSPC);
	assert_non_null(strstr(errinfo.text, "huge pages"));
	close(config.data_dir);
	assert_int_equal(umount(path), 0);
	assert_int_equal(rmdir(path), 0);
	reserve_huge(node, 0);
	reserve_huge(topology_at(topology, 0)->node, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_node_gets_its_own_pages),
		cmocka_unit_test(test_more_than_a_node_has_is_refused),
		cmocka_unit_test(test_huge_pages),
	};
	int failed;

	if (topology_load(&topology) != 0) {
		fprintf(stderr, "skipped: the machine's NUMA nodes cannot be found out\n");
		return 77;
	}
	if (topology_count(topology) < 2) {
		fprintf(stderr,
			"skipped: one NUMA node (try scripts/softroce run --vm --nodes 2)\n");
		topology_destroy(topology);
		return 77;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	topology_destroy(topology);
	return failed;
}
