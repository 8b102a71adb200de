/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd on hugetlbfs: its arenas are of huge pages, what it lends is zeroed, outlives it, and is given back to the
 * kernel. Reserves huge pages for as long as it runs, so nothing else that counts memory should run beside it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/rxe/client.h"
#include "tests/rxe/rig.h"

#define PAGE (2ULL << 20)
#define PAGES_PER_NODE 12 /* 8 for the arena, the rest for tables and luck */
#define NODES_MAX 8
#define BYTES (3 * PAGE + 4711)

static char mount_point[40];
static long before[NODES_MAX]; /* pages reserved; -1: no such node */

static bool node_pages(unsigned node, const char *mode, const char *what, long *pages)
{
	char path[128];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path),
		"/sys/devices/system/node/node%u/hugepages/hugepages-2048kB/%s", node, what);
	f = fopen(path, mode);
	if (!f)
		return false;
	ok = *mode == 'r' ? fscanf(f, "%ld", pages) == 1 : fprintf(f, "%ld", *pages) > 0;
	return fclose(f) == 0 && ok;
}

/* Did all nodes get their pages? */
static bool reserve(void)
{
	unsigned nodes = 0, n = 0;

	for (unsigned i = 0; i < NODES_MAX; i++) {
		long want, have = 0;

		if (!node_pages(i, "re", "nr_hugepages", &before[i])) {
			before[i] = -1;
			continue;
		}
		nodes++;
		want = before[i] + PAGES_PER_NODE;
		if (node_pages(i, "we", "nr_hugepages", &want) &&
			node_pages(i, "re", "nr_hugepages", &have) && have >= want)
			n++;
	}
	return nodes && n == nodes;
}

static void unreserve(void)
{
	for (unsigned i = 0; i < NODES_MAX; i++)
		if (before[i] >= 0)
			(void)node_pages(i, "we", "nr_hugepages", &before[i]);
}

static long free_pages(void)
{
	long sum = 0;

	for (unsigned i = 0; i < NODES_MAX; i++) {
		long n = 0;

		if (before[i] >= 0 && node_pages(i, "re", "free_hugepages", &n))
			sum += n;
	}
	return sum;
}

static void test_hugetlbfs(void **state)
{
	static const char *const options[] = { "--size", "16M", NULL };
	struct rig *r = *state;
	long at_first = free_pages();
	struct client *c;
	uint64_t addr;

	snprintf(r->data, sizeof(r->data), "%s/d", mount_point);
	rig_start(r, options);
	assert_int_equal(rig_ask_number(r, "status", "nodes.0.page_bytes"), PAGE);
	assert_true(free_pages() <= at_first - (long)((16ULL << 20) / PAGE));
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	addr = client_alloc(c, BYTES, -1);
	client_check(c, addr, BYTES, 0);
	client_fill(c, addr, BYTES, 21);
	rig_kill(r);
	rig_start(r, options);
	client_check(c, addr, BYTES, 21);
	client_free(c, addr);
	rig_await_wiped(r);
	addr = client_alloc(c, BYTES, -1);
	client_check(c, addr, BYTES, 0);
	client_free(c, addr);
	client_close(c);
	client_finish(c);
	rig_end(r);
	assert_int_equal(free_pages(), at_first);
}

/* More than there is: a sentence, and no page is kept. */
static void test_too_few_pages(void **state)
{
	static const char *const options[] = { "--size", "1G", NULL };
	struct rig *r = *state;
	long at_first = free_pages();

	snprintf(r->data, sizeof(r->data), "%s/d", mount_point);
	assert_int_equal(rig_start_refused(r, options), 3);
	assert_true(rig_log_says(r, "huge pages"));
	assert_int_equal(free_pages(), at_first);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_hugetlbfs),
		RIG_TEST(test_too_few_pages),
	};
	int status = 77;

	if (argc > 1)
		return client_role(argc, argv);
	snprintf(mount_point, sizeof(mount_point), "/tmp/rmem-huge-%d", (int)getpid());
	if (!reserve())
		fprintf(stderr, "skipped: no huge pages can be reserved here\n");
	else if (mkdir(mount_point, 0700) || mount("none", mount_point, "hugetlbfs", 0, NULL))
		fprintf(stderr, "skipped: hugetlbfs cannot be mounted: %s\n", strerror(errno));
	else
		status = rig_main(RIG_PORT_HUGEPAGES, tests, sizeof(tests) / sizeof(tests[0]));
	(void)umount2(mount_point, MNT_DETACH);
	(void)rmdir(mount_point);
	unreserve();
	return status;
}
