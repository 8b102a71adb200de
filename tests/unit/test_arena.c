/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arenas on a real tmpfs, and the limits as this machine has them. A file system that is too small is a real
 * one, mounted where that is allowed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/pages.h"
#include "numa/topology.h"
#include "tests/support/arenas.h"
#include "server/memory/limits.h"

#define POOL 0x123ULL

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
		arena_remove(f->dir, node, node, POOL);
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
		.pool = POOL,
		.bytes = bytes,
		.topology = f->topology };
}

static bool has_arena(const struct fixture *f, unsigned node)
{
	char name[ARENA_NAME_SIZE];

	return faccessat(f->dir, arena_name(node, node, POOL, name), F_OK, 0) == 0;
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
	struct errinfo errinfo = { "" };
	uint64_t done = 0;
	struct stat st;
	char name[ARENA_NAME_SIZE];

	assert_int_equal(arena_open(&a, &c, &errinfo), 0);
	assert_int_equal(arena_populate(&a, f->topology, count_progress, &done, &errinfo), 0);
	assert_int_equal(done, c.bytes);
	assert_true(a.created);
	assert_int_equal(a.bytes, c.bytes);
	assert_int_equal(a.page_bytes, sysconf(_SC_PAGESIZE));
	assert_int_equal(fstatat(f->dir, arena_name(c.node, c.node, POOL, name), &st, 0), 0);
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
	struct errinfo errinfo;

	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	memset(a.base, 'k', a.bytes);
	arena_close(&a);
	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
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
	assert_int_equal(arena_remove(f->dir, c.node, c.node, POOL), 0);
	assert_false(has_arena(f, c.node));
	assert_int_equal(arena_remove(f->dir, c.node, c.node, POOL), 0);
}

static void test_half_made_file_is_finished(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	char name[ARENA_NAME_SIZE];
	struct arena a = { 0 };
	struct errinfo errinfo;
	int fd = openat(f->dir, arena_name(c.node, c.node, POOL, name), O_CREAT | O_RDWR, 0600);

	/* Its maker was killed before it had a size; another one before it had pages. */
	assert_true(fd >= 0);
	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	assert_true(a.created);
	arena_close(&a);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)c.bytes), 0);
	close(fd);
	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	assert_int_equal(a.base[c.bytes - 1], 0);
	arena_close(&a);
}

static void test_another_size_is_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 }, untouched = { .node = 77 };
	struct errinfo errinfo;

	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	arena_close(&a);
	c.bytes = 4 * MIB;
	assert_int_equal(arena_make_ready(&untouched, c, &errinfo), -EEXIST);
	assert_int_equal(untouched.node, 77);
	assert_non_null(strstr(errinfo.text, "2.0 MiB"));
	assert_non_null(strstr(errinfo.text, "4.0 MiB"));
	assert_non_null(strstr(errinfo.text, "--size"));
	assert_true(has_arena(f, c.node));
}

static void test_two_owners_are_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 }, b = { 0 };
	struct errinfo errinfo;

	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	assert_int_equal(arena_make_ready(&b, c, &errinfo), -EBUSY);
	assert_non_null(strstr(errinfo.text, "--data"));
	assert_true(has_arena(f, c.node));
	arena_close(&a);
	assert_int_equal(arena_make_ready(&b, c, &errinfo), 0);
	arena_close(&b);
}

static void test_bad_config_is_refused(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 4097);
	char name[ARENA_NAME_SIZE];
	struct arena a = { 0 };
	struct errinfo errinfo;

	assert_int_equal(arena_make_ready(&a, c, &errinfo), -EINVAL);
	c.bytes = 0;
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -EINVAL);
	c.bytes = 8192 * GIB;
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -EINVAL);
	c.bytes = 4096;
	c.node = 63;
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -ENODEV);
	c.node = 64;
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -ENODEV);
	c = config_of(f, 4096);
	c.data_dir = open("/proc", O_RDONLY | O_DIRECTORY);
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -EOPNOTSUPP);
	assert_non_null(strstr(errinfo.text, "tmpfs"));
	close(c.data_dir);
	c = config_of(f, 4096);
	assert_int_equal(
		symlinkat("/etc/passwd", f->dir, arena_name(c.node, c.node, POOL, name)), 0);
	assert_int_equal(arena_make_ready(&a, c, &errinfo), -ELOOP);
	assert_false(has_arena(f, 1));
}

/* In a child with a mount namespace of its own; 0: as it must be, 77: not allowed here. */
static int open_on_full_tmpfs(const struct fixture *f)
{
	struct arena_config c = config_of(f, 8 * MIB);
	char name[ARENA_NAME_SIZE];
	struct limits limits;
	struct sizes sizes = { 1, { { c.node, c.bytes } } };
	struct arena a = { 0 };
	struct errinfo errinfo = { "" };

	if (unshare(CLONE_NEWNS) != 0 ||
		mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("tmpfs", f->path, "tmpfs", 0, "size=4m") != 0)
		return 77;
	c.data_dir = open(f->path, O_RDONLY | O_DIRECTORY);
	if (arena_make_ready(&a, c, &errinfo) != -ENOSPC || !strstr(errinfo.text, "tmpfs"))
		return 1;
	if (faccessat(c.data_dir, arena_name(c.node, c.node, POOL, name), F_OK, 0) == 0)
		return 2;
	if (limits_read(c.data_dir, &limits, &errinfo) != 0)
		return 3;
	if (limits_check(f->topology, &limits, &sizes, &errinfo) != -ENOSPC)
		return 4;
	c.bytes = sizes.nodes[0].bytes = 2 * MIB;
	return arena_make_ready(&a, c, &errinfo) == 0 ? 0 : 5;
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

static void test_limits_of_this_machine(void **state)
{
	struct fixture *f = *state;
	struct arena_config c = config_of(f, 2 * MIB);
	struct arena a = { 0 };
	struct limits l;
	struct sizes s;
	struct errinfo errinfo = { "" };

	assert_int_equal(arena_make_ready(&a, c, &errinfo), 0);
	arena_close(&a);
	assert_int_equal(limits_read(f->dir, &l, &errinfo), 0);
	assert_int_equal(l.files[c.node].bytes, 2 * MIB);
	assert_int_equal(l.files[c.node].held_bytes, 2 * MIB);
	assert_int_equal(l.page_bytes, sysconf(_SC_PAGESIZE));
	assert_false(l.huge);
	assert_int_equal(sizes_default(f->topology, &l, &s, &errinfo), 0);
	assert_int_equal(s.nodes[0].bytes, 2 * MIB);
}

/* From now on the kernel is one that was built without NUMA. */
static bool forget_numa(void)
{
	static const int calls[] = { SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy,
		SYS_move_pages };
	struct sock_filter code[2 * 4 + 2] = { BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog program = { .len = 2 * 4 + 2, .filter = code };

	for (unsigned i = 0; i < 4; i++) {
		code[2 * i + 1] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		code[2 * i + 2] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	}
	code[2 * 4 + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int open_without_numa(struct fixture *f)
{
	struct topology *t = NULL;
	struct arena arena;
	struct errinfo errinfo = { "" };
	int err;

	if (!forget_numa() || syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0) == 0 || errno != ENOSYS ||
		topology_load(&t))
		return 77;
	if (topology_count(t) != 1) {
		topology_destroy(t);
		return 77;
	}
	const struct arena_config config = {
		.data_dir = f->dir, .node = topology_at(t, 0)->node, .bytes = 1 << 20, .topology = t
	};

	err = arena_make_ready(&arena, config, &errinfo);
	if (err)
		fprintf(stderr, "%s\n", errinfo.text);
	else
		arena_close(&arena);
	topology_destroy(t);
	return err ? 1 : 0;
}

static void test_kernel_without_numa(void **state)
{
	int status = -1;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(open_without_numa(*state));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* filters are not allowed here, or there are more nodes */
	assert_int_equal(WEXITSTATUS(status), 0);
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
		with_dir(test_kernel_without_numa),
		with_dir(test_limits_of_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
