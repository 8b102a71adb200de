/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arenas on a real tmpfs, and the sizes and limits that are decided before. Decisions are tested on
 * synthetic machines; a file system that is too small is a real one, mounted where that is allowed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/pages.h"
#include "numa/topology.h"
#include "server/arena.h"
#include "server/cgroup.h"
#include "server/limits.h"

struct fixture {
	char path[64];
	int dir;
	struct topology *topology;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	strcpy(f->path, "/dev/shm/rmem-arena-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->dir >= 0 && topology_load(&f->topology) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++)
		arena_remove(f->dir, node);
	close(f->dir);
	rmdir(f->path);
	topology_destroy(f->topology);
	free(f);
	return 0;
}

static struct arena_config config_of(const struct fixture *f, uint64_t bytes)
{
	return (struct arena_config){ .data_dir = f->dir,
		.node = topology_at(f->topology, 0)->node,
		.bytes = bytes,
		.topology = f->topology };
}

static bool has_arena(const struct fixture *f, unsigned node)
{
	char name[ARENA_NAME_SIZE];

	return faccessat(f->dir, arena_name(node, name), F_OK, 0) == 0;
}

static bool count_progress(void *arg, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	*(uint64_t *)arg = done;
	return true;
}

static void test_new_arena_is_zero_bound_and_complete(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 40 * MIB + 4096);
	struct pages_count count;
	struct arena a = { 0 };
	struct why why = { "" };
	uint64_t done = 0;
	struct stat st;
	char name[ARENA_NAME_SIZE];

	c.progress = count_progress;
	c.progress_arg = &done;
	assert_int_equal(arena_open(&a, &c, &why), 0);
	assert_int_equal(done, c.bytes);
	assert_true(a.created);
	assert_int_equal(a.bytes, c.bytes);
	assert_int_equal(a.page_bytes, sysconf(_SC_PAGESIZE));
	assert_int_equal(fstatat(f->dir, arena_name(c.node, name), &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_blocks * 512, c.bytes);
	assert_int_equal(pages_locate(a.base, a.bytes, a.page_bytes, c.node, 0, &count), 0);
	assert_int_equal(count.on_node, count.total);
	for (uint64_t i = 0; i < a.bytes; i += 4096)
		assert_int_equal(a.base[i], 0);
	arena_close(&a);
	arena_close(&a);
	arena_close(NULL);
	arena_close(&(struct arena){ 0 });
}

static void test_contents_survive(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 };
	struct why why;

	assert_int_equal(arena_open(&a, &c, &why), 0);
	memset(a.base, 'k', a.bytes);
	arena_close(&a);
	assert_int_equal(arena_open(&a, &c, &why), 0);
	assert_false(a.created);
	for (uint64_t i = 0; i < a.bytes; i++)
		assert_int_equal(a.base[i], 'k');

	assert_int_equal(arena_wipe(&a, 4096, 8192), 0);
	assert_int_equal(a.base[4095], 'k');
	assert_int_equal(a.base[4096], 0);
	assert_int_equal(a.base[4096 + 8191], 0);
	assert_int_equal(a.base[4096 + 8192], 'k');
	assert_int_equal(arena_wipe(&a, a.bytes, 0), 0);
	assert_int_equal(arena_wipe(&a, a.bytes - 1, 2), -EINVAL);
	assert_int_equal(arena_wipe(&a, UINT64_MAX, 2), -EINVAL);
	arena_close(&a);
	assert_int_equal(arena_remove(f->dir, c.node), 0);
	assert_false(has_arena(f, c.node));
	assert_int_equal(arena_remove(f->dir, c.node), 0);
}

static void test_half_made_file_is_finished(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	char name[ARENA_NAME_SIZE];
	struct arena a = { 0 };
	struct why why;
	int fd = openat(f->dir, arena_name(c.node, name), O_CREAT | O_RDWR, 0600);

	/* Its maker was killed before it had a size; another one before it had pages. */
	assert_true(fd >= 0);
	assert_int_equal(arena_open(&a, &c, &why), 0);
	assert_true(a.created);
	arena_close(&a);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)c.bytes), 0);
	close(fd);
	assert_int_equal(arena_open(&a, &c, &why), 0);
	assert_int_equal(a.base[c.bytes - 1], 0);
	arena_close(&a);
}

static void test_another_size_is_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 }, untouched = { .node = 77 };
	struct why why;

	assert_int_equal(arena_open(&a, &c, &why), 0);
	arena_close(&a);
	c.bytes = 4 * MIB;
	assert_int_equal(arena_open(&untouched, &c, &why), -EEXIST);
	assert_int_equal(untouched.node, 77);
	assert_non_null(strstr(why.text, "2.0 MiB"));
	assert_non_null(strstr(why.text, "4.0 MiB"));
	assert_non_null(strstr(why.text, "--size"));
	assert_true(has_arena(f, c.node));
}

static void test_two_owners_are_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 }, b = { 0 };
	struct why why;

	assert_int_equal(arena_open(&a, &c, &why), 0);
	assert_int_equal(arena_open(&b, &c, &why), -EBUSY);
	assert_non_null(strstr(why.text, "--data"));
	assert_true(has_arena(f, c.node));
	arena_close(&a);
	assert_int_equal(arena_open(&b, &c, &why), 0);
	arena_close(&b);
}

static void test_bad_config_is_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 4097);
	struct arena a = { 0 };
	struct why why;

	assert_int_equal(arena_open(&a, &c, &why), -EINVAL);
	c.bytes = 0;
	assert_int_equal(arena_open(&a, &c, &why), -EINVAL);
	c.bytes = 8192 * GIB;
	assert_int_equal(arena_open(&a, &c, &why), -EINVAL);
	c.bytes = 4096;
	c.node = 63;
	assert_int_equal(arena_open(&a, &c, &why), -ENODEV);
	c.node = 64;
	assert_int_equal(arena_open(&a, &c, &why), -ENODEV);
	c = config_of(f, 4096);
	c.data_dir = open("/proc", O_RDONLY | O_DIRECTORY);
	assert_int_equal(arena_open(&a, &c, &why), -EOPNOTSUPP);
	assert_non_null(strstr(why.text, "tmpfs"));
	close(c.data_dir);
	c = config_of(f, 4096);
	assert_int_equal(symlinkat("/etc/passwd", f->dir, "arena-0"), 0);
	if (c.node == 0)
		assert_int_equal(arena_open(&a, &c, &why), -ELOOP);
	assert_false(has_arena(f, 1));
}

/* In a child with a mount namespace of its own; 0: as it must be, 77: not allowed here. */
static int open_on_full_tmpfs(const struct fixture *f)
{
	struct arena_config c = config_of(f, 8 * MIB);
	struct limits limits;
	struct sizes sizes = { 1, { { c.node, c.bytes } } };
	struct arena a = { 0 };
	struct why why = { "" };

	if (unshare(CLONE_NEWNS) != 0 ||
		mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("tmpfs", f->path, "tmpfs", 0, "size=4m") != 0)
		return 77;
	c.data_dir = open(f->path, O_RDONLY | O_DIRECTORY);
	if (arena_open(&a, &c, &why) != -ENOSPC || !strstr(why.text, "tmpfs"))
		return 1;
	if (faccessat(c.data_dir, "arena-0", F_OK, 0) == 0)
		return 2;
	if (limits_read(c.data_dir, f->topology, &limits, &why) != 0)
		return 3;
	if (limits_check(f->topology, &limits, &sizes, &why) != -ENOSPC)
		return 4;
	c.bytes = sizes.nodes[0].bytes = 2 * MIB;
	return arena_open(&a, &c, &why) == 0 ? 0 : 5;
}

static void test_full_tmpfs_is_an_error(void **state)
{
	const struct fixture *f = *state;
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(open_on_full_tmpfs(f));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status)); /* and not SIGBUS */
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static struct topology *machine(const char *description)
{
	struct topology *t = NULL;

	setenv("HWLOC_SYNTHETIC", description, 1);
	assert_int_equal(topology_load(&t), 0);
	unsetenv("HWLOC_SYNTHETIC");
	return t;
}

#define TWO_NODES "pack:2 [numa(memory=8589934592)] pu:1"

static void test_sizes_parse(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct sizes s = { 0 };
	struct why why;
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

		why.text[0] = '\0';
		assert_int_equal(sizes_parse(cases[i].text, t, 4096, &s, &why), cases[i].err);
		if (cases[i].err) {
			assert_memory_equal(&s, &before, sizeof(s));
			assert_true(strlen(why.text) > 10);
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
	assert_int_equal(sizes_parse("5G", t, GIB, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, 2 * GIB);
	assert_int_equal(sizes_total(&s), 4 * GIB);
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
	struct why why;

	(void)state;
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.nodes[1].bytes, 2 * GIB);

	l.fs_free_bytes = 400 * MIB + 5;
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, 100 * MIB);

	l.cgroup_free_bytes = 240 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, 60 * MIB);

	l.memlock_hard_bytes = LIMITS_MEMLOCK_EXTRA + 81 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, 40 * MIB);

	l.memlock_hard_bytes = 8 * MIB;
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, LIMITS_NODE_MIN_BYTES);
	assert_int_equal(limits_check(t, &l, &s, &why), -EPERM);

	l.files[1].bytes = 3 * MIB; /* an earlier run's arena decides */
	assert_int_equal(sizes_default(t, &l, &s, &why), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.nodes[0].node, 1);
	assert_int_equal(s.nodes[0].bytes, 3 * MIB);

	l = no_limits();
	l.huge = true;
	l.page_bytes = GIB;
	assert_int_equal(sizes_default(t, &l, &s, &why), -ENODEV);
	topology_destroy(t);
}

static void test_limits_check(void **state)
{
	struct topology *t = machine(TWO_NODES);
	struct limits l = no_limits();
	struct sizes s = { 2, { { 0, 4 * GIB }, { 1, 4 * GIB } } };
	struct why why;

	(void)state;
	assert_int_equal(limits_check(t, &l, &s, &why), 0);
	l.fs_free_bytes = 8 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &why), 0);
	l.fs_free_bytes--;
	assert_int_equal(limits_check(t, &l, &s, &why), -ENOSPC);
	l.files[1].held_bytes = 4 * GIB; /* what an earlier run holds need not be found again */
	assert_int_equal(limits_check(t, &l, &s, &why), 0);

	l.cgroup_free_bytes = 4 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &why), 0);
	l.cgroup_free_bytes--;
	assert_int_equal(limits_check(t, &l, &s, &why), -ENOMEM);
	assert_non_null(strstr(why.text, "MemoryMax="));
	l.cgroup_free_bytes = LIMITS_NONE;

	l.memlock_hard_bytes = 8 * GIB + LIMITS_MEMLOCK_EXTRA;
	assert_int_equal(limits_check(t, &l, &s, &why), 0);
	l.memlock_hard_bytes = 8 * MIB;
	assert_int_equal(limits_check(t, &l, &s, &why), -EPERM);
	assert_string_equal(why.text, "RLIMIT_MEMLOCK is 8.0 MiB, the pool needs 8.0 GiB: run as "
				      "root, raise it with `ulimit "
				      "-l unlimited`, or set LimitMEMLOCK=infinity in the unit");

	l = no_limits();
	s.nodes[1].bytes = 9 * GIB;
	assert_int_equal(limits_check(t, &l, &s, &why), -ENOMEM);
	assert_non_null(strstr(why.text, "node 1 has 8.0 GiB of memory in all"));
	s.nodes[1] = (struct sizes_node){ 2, GIB };
	assert_int_equal(limits_check(t, &l, &s, &why), -ENODEV);
	s.nodes[1] = (struct sizes_node){ 1, GIB };
	l.huge = true;
	l.page_bytes = 2 * MIB;
	assert_int_equal(limits_check(t, &l, &s, &why), -ENOMEM);
	assert_non_null(strstr(why.text, "hugepages-2048kB/nr_hugepages"));
	topology_destroy(t);
}

static void test_limits_of_this_machine(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 };
	struct limits l;
	struct sizes s;
	struct why why = { "" };

	assert_int_equal(arena_open(&a, &c, &why), 0);
	arena_close(&a);
	assert_int_equal(limits_read(f->dir, f->topology, &l, &why), 0);
	assert_int_equal(l.files[c.node].bytes, 2 * MIB);
	assert_int_equal(l.files[c.node].held_bytes, 2 * MIB);
	assert_int_equal(l.page_bytes, sysconf(_SC_PAGESIZE));
	assert_false(l.huge);
	assert_int_equal(sizes_default(f->topology, &l, &s, &why), 0);
	assert_int_equal(s.nodes[0].bytes, 2 * MIB);
}

static void test_memlock_is_raised(void **state)
{
	struct sizes s = { 1, { { 0, MIB } } };
	struct limits l = no_limits();
	struct rlimit before, after;
	struct why why;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
	after = before;
	after.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(limits_raise_memlock(&l, &s, &why), 0); /* no limit: nothing to raise */
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(after.rlim_cur, 4096);
	l.memlock_soft_bytes = 4096;
	assert_int_equal(limits_raise_memlock(&l, &s, &why), 0);
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &after), 0);
	assert_int_equal(after.rlim_cur, after.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	int fd = openat(f->dir, name, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Files as the kernel writes them: the tightest group decides, and file cache is not in the way. */
static void test_control_groups(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cgroup_free_bytes_of(f->path, "/a"), CGROUP_NO_LIMIT);
	assert_int_equal(mkdirat(f->dir, "a", 0700), 0);
	assert_int_equal(mkdirat(f->dir, "a/b", 0700), 0);
	write_file(f, "a/memory.max", "1000\n");
	write_file(f, "a/memory.current", "700\n");
	write_file(f, "a/b/memory.max", "max\n");
	write_file(f, "a/b/memory.current", "650\n");
	assert_int_equal(cgroup_free_bytes_of(f->path, "/a/b"), 300);
	write_file(f, "a/memory.stat", "anon 5\nactive_file 100\ninactive_file 50\n");
	assert_int_equal(cgroup_free_bytes_of(f->path, "/a/b"), 450);
	write_file(f, "a/b/memory.max", "655\n");
	assert_int_equal(cgroup_free_bytes_of(f->path, "/a/b"), 5);
	write_file(f, "a/b/memory.max", "600\n");
	assert_int_equal(cgroup_free_bytes_of(f->path, "/a/b"), 0);
	assert_int_equal(cgroup_free_bytes_of(f->path, "/a"), 450);
	assert_int_equal(cgroup_free_bytes_of(f->path, "/"), CGROUP_NO_LIMIT);
	assert_int_equal(cgroup_free_bytes_of(f->path, "a"), CGROUP_NO_LIMIT);
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = { "a/memory.max", "a/memory.current",
			"a/memory.stat", "a/b/memory.max", "a/b/memory.current" };

		assert_int_equal(unlinkat(f->dir, names[i], 0), 0);
	}
	assert_int_equal(unlinkat(f->dir, "a/b", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(f->dir, "a", AT_REMOVEDIR), 0);
}

#define with_dir(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dir(test_new_arena_is_zero_bound_and_complete),
		with_dir(test_contents_survive),
		with_dir(test_half_made_file_is_finished),
		with_dir(test_another_size_is_refused),
		with_dir(test_two_owners_are_refused),
		with_dir(test_bad_config_is_refused),
		with_dir(test_full_tmpfs_is_an_error),
		with_dir(test_limits_of_this_machine),
		with_dir(test_control_groups),
		cmocka_unit_test(test_sizes_parse),
		cmocka_unit_test(test_sizes_default),
		cmocka_unit_test(test_limits_check),
		cmocka_unit_test(test_memlock_is_raised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
