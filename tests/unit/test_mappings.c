/* SPDX-License-Identifier: BSD-3-Clause */
/* /proc/self/maps and smaps: what the kernel writes, names that somebody chose with care, and what is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/scan/mappings.h"

#define MANY 4096
#define RW "1000-3000 rw-p 00000000 00:00 0 "

static bool parse(const char *line, struct mapping *out)
{
	return mappings_parse(line, strlen(line), out);
}

static void test_rights(void **state)
{
	struct mapping m;

	(void)state;
	assert_true(parse(
		"7f25bd58d000-7f25bd58f000 rw-p 001d3000 fe:00 332835      /lib/libc.so.6", &m));
	assert_int_equal(m.start, 0x7f25bd58d000);
	assert_int_equal(m.end, 0x7f25bd58f000);
	assert_true(m.readable && m.writable && !m.shared && !m.device && !m.stack);
	assert_true(parse("1000-2000 r-xs 00000000 00:00 12", &m));
	assert_true(m.readable && !m.writable && m.shared);
	assert_true(parse("1000-2000 ---p 00000000 00:00 0", &m));
	assert_true(!m.readable && !m.writable && !m.shared);
	assert_true(
		parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]", &m));
	assert_int_equal(m.end, 0xffffffffff601000);
}

static void test_names(void **state)
{
	static const char *const memory[] = { "", "[heap]", "[anon:x]", "[anon:[stack]]",
		"[anon_shmem:a b]", "[stack:17]", "/memfd:/dev/mem (deleted)", "/dev/shm/x",
		"/dev/zero (deleted)", "/SYSV00000000 (deleted)", "/anon_hugepage (deleted)",
		"/var/dev/x", "/dev/hugepages/y", "/a\\012b", "/devices", "/var/x  [stack]" };
	static const char *const devices[] = { "/dev/infiniband/uverbs0", "/dev/mem",
		"/sys/bus/pci/resource0", "/proc/bus/pci/00", "/dmabuf:", "anon_inode:[io_uring]",
		"socket:[123]", "[vvar]", "[uprobes]", "[heap", "[stack] ", "x" };
	char line[256];
	struct mapping m;

	(void)state;
	for (size_t i = 0; i < sizeof(memory) / sizeof(*memory); i++) {
		snprintf(line, sizeof(line), RW "    %s", memory[i]);
		assert_true(parse(line, &m));
		assert_true(!m.device && !m.stack);
	}
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		snprintf(line, sizeof(line), RW "    %s", devices[i]);
		assert_true(parse(line, &m));
		assert_true(m.device && !m.stack);
	}
	assert_true(parse(RW "    [stack]", &m));
	assert_true(m.stack && !m.device);
}

static void test_wrong_lines(void **state)
{
	static const char *const bad[] = { "", "1000", "1000-", "1000-2000", "1000-2000 rw-p",
		"1000-2000 rw-p 0 0:0", "2000-1000 rw-p 0 00:00 0", "1000-1000 rw-p 0 00:00 0",
		"1001-2000 rw-p 0 00:00 0", "1000-2001 rw-p 0 00:00 0", "1000-2000 rwxq 0 00:00 0",
		"1000-2000 wr-p 0 00:00 0", "10000000000000000-20000000000000000 rw-p 0 00:00 0",
		"1000-2000 rw-p 0 00:00 0x", "-1000-2000 rw-p 0 00:00 0",
		" 1000-2000 rw-p 0 00:00 0", "1000-2000 rw-p 0 00:00 99999999999999999999999",
		"1000-2000\trw-p 0 00:00 0" };
	struct mapping m = { .start = 5 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(parse(bad[i], &m));
	assert_int_equal(m.start, 5);
}

/* The list, from a file with that content. Returns how many, or an error. */
static int list(const void *text, size_t len, struct mapping out[MANY])
{
	const int fd = memfd_create("maps", MFD_CLOEXEC);
	static struct mappings m;
	int n = 0, rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	mappings_begin(&m, fd);
	while ((rc = mappings_next(&m, &out[n])) > 0)
		assert_true(++n < MANY);
	if (!rc)
		assert_int_equal(mappings_next(&m, &out[n]), 0);
	close(fd);
	return rc < 0 ? rc : n;
}

static int list_text(const char *text, struct mapping out[MANY])
{
	return list(text, strlen(text), out);
}

static struct mapping got[MANY];

static void test_flags(void **state)
{
	(void)state;
	assert_int_equal(
		list_text("1000-2000 rw-p 0 00:00 0 \nSize:   4 kB\nVmFlags: rd wr mr mw me ac \n"
			  "2000-3000 rw-s 0 00:00 7    /tmp/node\nVmFlags: rd wr sh io pf dc \n"
			  "3000-4000 rw-p 0 00:00 0 \nTHPeligible:    0\nVmFlags: rd pf\n"
			  "4000-5000 rw-p 0 00:00 0 \nVmFlags: iodd\n",
			got),
		4);
	assert_true(!got[0].device && got[1].device && got[2].device && !got[3].device);
}

static void test_wrong_files(void **state)
{
	(void)state;
	assert_int_equal(list_text("", got), 0);
	assert_int_equal(list_text("Size: 4 kB\n", got), -EPROTO); /* of which? */
	assert_int_equal(list_text("1000-2000 rw-p 0 00:00 0 \n\n", got), -EPROTO);
	assert_int_equal(list_text("1000-2000 rw-p 0 00:00 0 \nnonsense\n", got), -EPROTO);
	assert_int_equal(list_text("1000-2000 rw-p 0 00:00 0 \n2000-30", got), -EPROTO);
	assert_int_equal(list_text("1000-2000 rw-p 0 00:00 0 \n: x\n", got), -EPROTO);
}

/* Two became one while the list was read: nothing twice, and nothing backwards. */
static void test_merged(void **state)
{
	(void)state;
	assert_int_equal(list_text("1000-2000 rw-p 0 00:00 0 \n1000-4000 rw-p 0 00:00 0 \n"
				   "2000-3000 rw-p 0 00:00 0 \n5000-6000 rw-p 0 00:00 0 \n",
				 got),
		3);
	assert_int_equal(got[1].start, 0x2000);
	assert_int_equal(got[1].end, 0x4000);
	assert_int_equal(got[2].start, 0x5000);
}

/* Names of all lengths around what there is room for, so that lines begin and end everywhere in the buffer. */
static void test_long_names(void **state)
{
	const size_t room = 3 * (size_t)MAPPINGS_BUFFER;
	char *text = malloc(2 * room);

	(void)state;
	assert_non_null(text);
	for (size_t len = 1; len < room; len += len < 40 || len > MAPPINGS_BUFFER - 300 ? 1 : 97) {
		size_t at = (size_t)sprintf(text, "1000-2000 rw-p 0 00:00 0    /");

		memset(text + at, (int)(1 + len % 255) == '\n' ? 'n' : (int)(1 + len % 255), len);
		at += len;
		at += (size_t)sprintf(text + at, "\n2000-3000 rw-p 0 00:00 0    [stack]\n");
		assert_int_equal(list(text, at, got), 2);
		assert_int_equal(got[0].start, 0x1000);
		assert_true(!got[0].device && got[1].stack);
		if (len > MAPPINGS_BUFFER + 300)
			len += 411;
	}
	free(text);
}

/* Names with zero bytes and everything else that is no line feed. */
static void test_any_bytes(void **state)
{
	static const char text[] =
		"1000-2000 rw-p 0 00:00 0    /a\0\xff\r2000-3000 rw-p\n2000-3000 rw-p 0 00:00 0\n";

	(void)state;
	assert_int_equal(list(text, sizeof(text) - 1, got), 2);
}

static int list_file(const char *path, struct mapping out[MANY])
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	static struct mappings m;
	int n = 0, rc;

	assert_true(fd >= 0);
	mappings_begin(&m, fd);
	while ((rc = mappings_next(&m, &out[n])) > 0)
		assert_true(++n < MANY);
	assert_int_equal(rc, 0);
	close(fd);
	return n;
}

/* The one that p is in, or NULL. */
static const struct mapping *find(const void *p, int n)
{
	for (int i = 0; i < n; i++)
		if (got[i].start <= (uintptr_t)p && (uintptr_t)p < got[i].end)
			return &got[i];
	return NULL;
}

static void check_own(const char *path)
{
	const size_t bytes = 8192;
	char *mapped = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static int data = 3;
	const struct mapping *m;
	int local = 0, n;

	assert_true(mapped != MAP_FAILED);
	n = list_file(path, got);
	for (int i = 1; i < n; i++)
		assert_true(got[i - 1].end <= got[i].start);
	m = find(&local, n);
	assert_true(m && m->writable);
	assert_true(m->stack || getenv("RMEM_TEST_VALGRIND")); /* which makes one of its own */
	m = find(&data, n);
	assert_true(m && m->writable && !m->shared && !m->stack && !m->device);
	m = find(mapped, n);
	assert_true(m && m->readable && !m->writable && m->shared && !m->device);
	munmap(mapped, bytes);
}

static void test_own(void **state)
{
	(void)state;
	check_own("/proc/self/maps");
	check_own("/proc/self/smaps");
}

static void test_unreadable(void **state)
{
	static struct mappings m;

	(void)state;
	mappings_begin(&m, -1);
	assert_int_equal(mappings_next(&m, &got[0]), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_wrong_lines),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_wrong_files),
		cmocka_unit_test(test_merged),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_unreadable),
	};

	return cmocka_run_group_tests_name("mappings", tests, NULL, NULL);
}
