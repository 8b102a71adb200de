/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes and limits, decided before there is an arena: on synthetic machines, with files like the kernel's. */
#include "tests/support/dir.h"
#include "tests/support/machines.h"

#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "numa/topology.h"
#include "server/memory/cgroup.h"
#include "server/memory/limits.h"

#define TWO_NODES "pack:2 [numa(memory=8589934592)] pu:1"

static void test_sizes_parse(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct sizes s = { 0 };
	struct errinfo errinfo;
	static const struct {
		const char *text;
		int err;
		size_t count;
		uint64_t first, second;
	} cases[] = {
		{ "4G", 0, 2, 2 * GIB, 2 * GIB },
		{ "8195", 0, 2, 4096, 4096 }, /* whole pages, rounded down */
		{ "0:4G,1:2G", 0, 2, 4 * GIB, 2 * GIB },
		{ "1:2G,0:4G", 0, 2, 4 * GIB, 2 * GIB },
		{ "1:1.5G", 0, 1, 1536 * MIB, 0 },
		{ "0:4095", -EINVAL, 0, 0, 0 },
		{ "0", -EINVAL, 0, 0, 0 },
		{ "4096", -EINVAL, 0, 0, 0 },
		{ "", -EINVAL, 0, 0, 0 },
		{ "4X", -EINVAL, 0, 0, 0 },
		{ "-4G", -EINVAL, 0, 0, 0 },
		{ "0:", -EINVAL, 0, 0, 0 },
		{ ":4G", -EINVAL, 0, 0, 0 },
		{ "0:4G,", -EINVAL, 0, 0, 0 },
		{ "0:4G,,1:4G", -EINVAL, 0, 0, 0 },
		{ "0:4G,4G", -EINVAL, 0, 0, 0 },
		{ "0:4G,0:4G", -EINVAL, 0, 0, 0 },
		{ "0x1:4G", -EINVAL, 0, 0, 0 },
		{ " 0:4G", -EINVAL, 0, 0, 0 },
		{ "+0:4G", -EINVAL, 0, 0, 0 },
		{ "0:0000000000000000000000000000000000000004G", -EINVAL, 0, 0, 0 },
		{ "2:4G", -ENODEV, 0, 0, 0 },
		{ "64:4G", -ENODEV, 0, 0, 0 },
		{ "18446744073709551616:4G", -ENODEV, 0, 0, 0 },
		{ "0:5T", -EFBIG, 0, 0, 0 },
		{ "100T", -EFBIG, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sizes before = s;

		errinfo.text[0] = '\0';
		assert_int_equal(sizes_parse(cases[i].text, t, 4096, &s, &errinfo), cases[i].err);
		if (cases[i].err) {
			assert_memory_equal(&s, &before, sizeof(s));
			assert_true(strlen(errinfo.text) > 10);
			continue;
		}
		assert_int_equal(s.count, cases[i].count);
		assert_int_equal(s.nodes[0].bytes, cases[i].first);
		if (s.count > 1) {
			assert_int_equal(s.nodes[0].node, 0);
			assert_int_equal(s.nodes[1].node, 1);
			assert_int_equal(s.nodes[1].bytes, cases[i].second);
		}
	}
	assert_int_equal(sizes_parse("5G", t, GIB, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, 2 * GIB);
	assert_int_equal(sizes_total(&s), 4 * GIB);
	topology_destroy(t);
}

/* Two packages with much ordinary memory (0, 2) and a little that is fast (1, 3). */
static void test_sizes_by_attribute(void **state)
{
	static const struct machine_memory memory[] = { { 0, 200000, 90 }, { 1, 800000, 120 },
		{ 2, 200000, 90 }, { 3, 800000, 120 } };
	static const struct {
		const char *text;
		int err;
		uint64_t gib[4]; /* by node */
	} cases[] = {
		{ "capacity:64G,bandwidth:8G", 0, { 32, 4, 32, 4 } },
		{ "bandwidth:8G", 0, { 0, 4, 0, 4 } },
		{ "capacity:8G,latency:4G", 0, { 6, 0, 6, 0 } }, /* the same nodes: both */
		{ "latency:4G,1:2G,3:1G", 0, { 2, 2, 2, 1 } },
		{ "0:2G,capacity:4G", 0, { 4, 0, 2, 0 } },
		{ "bandwidth:4096", -EINVAL, { 0 } }, /* less than a page each */
		{ "bandwidth", -EINVAL, { 0 } },
		{ "speed:4G", -EINVAL, { 0 } },
		{ "none:4G", -EINVAL, { 0 } },
		{ "Capacity:4G", -EINVAL, { 0 } },
		{ "capacity:4G,", -EINVAL, { 0 } },
		{ "capacity:4T,latency:5T", -EFBIG, { 0 } },
	};
	struct topology *t = machine_with(
		"pack:2 [numa(memory=68719476736)] [numa(memory=8589934592)] core:2 pu:1", memory,
		4);
	struct topology *plain = machine(TWO_NODES);
	struct errinfo errinfo;
	struct sizes s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t total = 0;

		memset(&s, 0, sizeof(s));
		assert_int_equal(sizes_parse(cases[i].text, t, 4096, &s, &errinfo), cases[i].err);
		for (unsigned node = 0; node < 4; node++)
			total += cases[i].gib[node] * GIB;
		assert_int_equal(sizes_total(&s), total);
		for (size_t k = 0; k < s.count; k++)
			assert_int_equal(s.nodes[k].bytes, cases[i].gib[s.nodes[k].node] * GIB);
	}
	assert_int_equal(sizes_parse("capacity:4G", plain, 4096, &s, &errinfo), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(sizes_parse("bandwidth:4G", plain, 4096, &s, &errinfo), -ENODEV);
	assert_non_null(strstr(errinfo.text, "bandwidth"));
	topology_destroy(plain);
	topology_destroy(t);
}

static struct limits no_limits(void)
{
	return (struct limits){
		.page_bytes = 4096,
		.fs_free_bytes = LIMITS_NONE,
		.cgroup_free_bytes = LIMITS_NONE,
		.memlock_soft_bytes = LIMITS_NONE,
		.memlock_hard_bytes = LIMITS_NONE,
	};
}

static void test_sizes_default(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct limits l = no_limits();
	struct sizes s;
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.nodes[1].bytes, 2 * GIB);

	l.fs_free_bytes = 400 * MIB + 5;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, 100 * MIB);

	l.cgroup_free_bytes = 240 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, 60 * MIB);

	l.memlock_hard_bytes = LIMITS_MEMLOCK_EXTRA + 81 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, 40 * MIB);

	l.memlock_hard_bytes = 8 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, LIMITS_NODE_MIN_BYTES);
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -EPERM);

	l.files[1].bytes = 3 * MIB; /* an earlier run's arena decides */
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.nodes[0].node, 1);
	assert_int_equal(s.nodes[0].bytes, 3 * MIB);

	l = no_limits();
	l.huge = true;
	l.page_bytes = GIB;
	assert_int_equal(sizes_default(t, &l, &s, &errinfo), -ENODEV);
	topology_destroy(t);
}

static void test_limits_check(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct limits l = no_limits();
	struct sizes s = { 2, { { 0, 4 * GIB }, { 1, 4 * GIB } } };
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);
	l.fs_free_bytes = 8 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);
	l.fs_free_bytes--;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -ENOSPC);
	l.files[1].held_bytes = 4 * GIB; /* what an earlier run holds need not be found again */
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);

	l.cgroup_free_bytes = 4 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);
	l.cgroup_free_bytes--;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -ENOMEM);
	assert_non_null(strstr(errinfo.text, "MemoryMax="));
	l.cgroup_free_bytes = LIMITS_NONE;

	l.memlock_hard_bytes = 8 * GIB + LIMITS_MEMLOCK_EXTRA;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);
	l.memlock_hard_bytes = 8 * MIB;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -EPERM);
	assert_string_equal(errinfo.text,
		"RLIMIT_MEMLOCK is 8.0 MiB, but 8.0 GiB have to be locked, the pool of 8.0 GiB, "
		"and 16.0 MiB for 512 connections: raise it (`ulimit -l "
		"unlimited`, memlock in /etc/security/limits.conf, LimitMEMLOCK=infinity in the "
		"unit), run as root, or use a smaller --size");

	l = no_limits();
	s.nodes[1].bytes = 9 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -ENOMEM);
	assert_non_null(strstr(errinfo.text, "node 1 has 8.0 GiB of memory in all"));
	s.nodes[1] = (struct sizes_node){ 2, GIB };
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -ENODEV);
	s.nodes[1] = (struct sizes_node){ 1, GIB };
	l.huge = true;
	l.page_bytes = 2 * MIB;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -ENOMEM);
	assert_non_null(strstr(errinfo.text, "hugepages-2048kB/nr_hugepages"));
	topology_destroy(t);
}

static void test_memlock_is_raised(void **state)
{
	struct sizes s = { 1, { { 0, MIB } } };
	struct limits l = no_limits();
	struct rlimit before, after;
	struct errinfo errinfo;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
	after = before;
	after.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(
		limits_raise_memlock(&l, &s, 20000, &errinfo), 0); /* no limit: nothing to raise */
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(after.rlim_cur, 4096);
	/* Enough for the pool and 1000 connections, but not for 1001. */
	l.memlock_soft_bytes = MIB + 1000 * LIMITS_CONNECTION_BYTES;
	assert_int_equal(limits_raise_memlock(&l, &s, 1000, &errinfo), 0);
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(after.rlim_cur, 4096);
	assert_int_equal(limits_raise_memlock(&l, &s, 1001, &errinfo), 0);
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(after.rlim_cur, after.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

/* A start with what is enough for some connections only: it goes on, and says for how many. */
static void test_connections_are_counted(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct sizes s = { 2, { { 0, 4 * GIB }, { 1, 4 * GIB } } };
	struct limits l = no_limits();
	struct errinfo errinfo = { "" };

	(void)state;
	assert_false(limits_warn_connections(&l, &s, 20736, &errinfo));
	l.memlock_hard_bytes = 8 * GIB + 20736 * LIMITS_CONNECTION_BYTES;
	assert_false(limits_warn_connections(&l, &s, 20736, &errinfo));
	assert_string_equal(errinfo.text, "");
	l.memlock_hard_bytes--;
	assert_true(limits_warn_connections(&l, &s, 20736, &errinfo));
	assert_non_null(strstr(errinfo.text, "enough for 20735 connections"));
	l.memlock_hard_bytes = 8 * GIB + LIMITS_MEMLOCK_EXTRA;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), 0);
	assert_true(limits_warn_connections(&l, &s, 20736, &errinfo));
	assert_string_equal(errinfo.text,
		"RLIMIT_MEMLOCK is 8.0 GiB: beside the pool of 8.0 GiB that is enough for 512 "
		"connections of 32.0 KiB each, but rmemd accepts 20736. A client beyond that is "
		"turned away. If there may be so many, raise it to 8.6 GiB (`ulimit -l`, in KiB: "
		"9052160; memlock in /etc/security/limits.conf; LimitMEMLOCK= in the unit)");
	l.memlock_hard_bytes--;
	assert_int_equal(limits_check(t, &l, &s, &errinfo), -EPERM);
	topology_destroy(t);
}

static void write_file(const char *name, const char *text)
{
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Files as the kernel writes them: the tightest group decides, and file cache is not in the way. */
static void test_control_groups(void **state)
{
	const char *path = *state;

	assert_int_equal(cgroup_free_bytes_of(path, "/a"), CGROUP_NO_LIMIT);
	assert_int_equal(mkdirat(dir, "a", 0700), 0);
	assert_int_equal(mkdirat(dir, "a/b", 0700), 0);
	write_file("a/memory.max", "1000\n");
	write_file("a/memory.current", "700\n");
	write_file("a/b/memory.max", "max\n");
	write_file("a/b/memory.current", "650\n");
	assert_int_equal(cgroup_free_bytes_of(path, "/a/b"), 300);
	write_file("a/memory.stat", "anon 5\nactive_file 100\ninactive_file 50\n");
	assert_int_equal(cgroup_free_bytes_of(path, "/a/b"), 450);
	write_file("a/b/memory.max", "655\n");
	assert_int_equal(cgroup_free_bytes_of(path, "/a/b"), 5);
	write_file("a/b/memory.max", "600\n");
	assert_int_equal(cgroup_free_bytes_of(path, "/a/b"), 0);
	assert_int_equal(cgroup_free_bytes_of(path, "/a"), 450);
	assert_int_equal(cgroup_free_bytes_of(path, "/"), CGROUP_NO_LIMIT);
	assert_int_equal(cgroup_free_bytes_of(path, "a"), CGROUP_NO_LIMIT);
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = { "a/memory.max", "a/memory.current",
			"a/memory.stat", "a/b/memory.max", "a/b/memory.current" };

		assert_int_equal(unlinkat(dir, names[i], 0), 0);
	}
	assert_int_equal(unlinkat(dir, "a/b", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(dir, "a", AT_REMOVEDIR), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_control_groups),
		cmocka_unit_test(test_sizes_parse),
		cmocka_unit_test(test_sizes_by_attribute),
		cmocka_unit_test(test_sizes_default),
		cmocka_unit_test(test_limits_check),
		cmocka_unit_test(test_memlock_is_raised),
		cmocka_unit_test(test_connections_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
