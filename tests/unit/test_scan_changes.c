/* SPDX-License-Identifier: BSD-3-Clause */
/* A scan while memory goes away, under filters, without rights, within limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/scan/scan.h"
#include "common/clock.h"
#include "tests/support/scans.h"

/* --- while it runs --- */

/* process_vm_readv() goes through here: something happens before it. */
static struct {
	bool forbid;
	unsigned forbid_from; /* the call with this number; 0: never */
	uint8_t *unmap;       /* when its page is about to be read */
	size_t unmap_bytes;
	unsigned calls;
} at_read;

ssize_t __real_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long nlocal,
	const struct iovec *remote, unsigned long nremote, unsigned long flags);
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long nlocal,
	const struct iovec *remote, unsigned long nremote, unsigned long flags);

ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long nlocal,
	const struct iovec *remote, unsigned long nremote, unsigned long flags)
{
	at_read.calls++;
	if (at_read.forbid || (at_read.forbid_from && at_read.calls >= at_read.forbid_from)) {
		errno = EPERM;
		return -1;
	}
	for (unsigned long i = 0; i < nremote && at_read.unmap; i++) {
		const uint8_t *const from = remote[i].iov_base;

		if (at_read.unmap < from || at_read.unmap >= from + remote[i].iov_len)
			continue;
		munmap(at_read.unmap, at_read.unmap_bytes);
		at_read.unmap = NULL;
	}
	return __real_process_vm_readv(pid, local, nlocal, remote, nremote, flags);
}

/* A hole in the middle of what is being read: all around it is found. */
static void test_unmapped(void **state)
{
	const size_t bytes = 2 * MIB, hole = 5 * PAGE;
	uint8_t *p = map_private(bytes);

	(void)state;
	(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	plant(p + MIB - 8, 0, 0);
	plant(p + MIB + 8, 1, 0);
	plant(p + MIB + hole, 2, 0);
	plant(p + bytes - 8, 3, 0);
	at_read.unmap = p + MIB;
	at_read.unmap_bytes = hole;
	run();
	assert_null(at_read.unmap); /* so it did happen */
	assert_true(met(0) && met(2) && met(3));
	assert_true(under_valgrind() || !met(1));
	assert_int_equal(scan_counts(scan)->bytes_gone, hole);
	munmap(p, bytes);
}

/* The rest of it, far beyond what is read at once. */
static void test_rest_unmapped(void **state)
{
	const size_t bytes = 100 * MIB;
	uint8_t *p = map_private(bytes), *after;

	(void)state;
	(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		p[i] = 1;
	after = map_private(PAGE);
	plant(after, 0, 0);
	plant(p, 1, 0);
	at_read.unmap = p + MIB;
	at_read.unmap_bytes = bytes - MIB;
	run();
	assert_true(met(0) && met(1));
	assert_true(scan_counts(scan)->bytes_gone > 60 * MIB);
	munmap(p, MIB);
	munmap(after, PAGE);
}

/* --- filters --- */

static void test_forbidden(void **state)
{
	volatile uint64_t on_stack;
	uint8_t *p = map_private(4 * PAGE);

	(void)state;
	plant(&on_stack, 0, 0);
	plant(p, 1, 0);
	plant(p + 2 * PAGE, 2, 0);
	plant(p + 3 * PAGE, 3, 0);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	at_read.forbid = true;
	at_read.calls = 0;
	run();
	at_read.forbid = false;
	assert_int_equal(at_read.calls, 1);
	assert_true(met(0) && met(1) && met(2) && met(3));
	assert_true(under_valgrind() || !met(4));
	on_stack = 0;
	munmap(p, 4 * PAGE);
}

/* It came while the scan was under way. */
static void test_forbidden_later(void **state)
{
	struct errinfo errinfo = { "" };

	(void)state;
	assert_int_equal(scan_create(&scan, &request, &errinfo), 0);
	at_read.calls = 0;
	at_read.forbid_from = 3;
	assert_int_equal(scan_run(scan, &errinfo), -EPERM);
	at_read.forbid_from = 0;
	assert_true(errinfo.text[0]);
}

/* As a container does it: also what to expect of an old profile of Docker. */
static void refuse_calls(bool open_too)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, open_too ? SYS_openat : SYS_process_vm_readv, 1,
			0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

/* In the child: 0, or the number of what is wrong. */
static int scan_filtered(bool open_too)
{
	struct errinfo errinfo = { "" };
	volatile uint64_t on_stack;
	int rc;

	plant(&on_stack, 0, 0);
	refuse_calls(open_too);
	if (scan_create(&scan, &request, &errinfo))
		return 1;
	rc = scan_run(scan, &errinfo);
	on_stack = 0;
	if (open_too)
		return rc == -EPERM && errinfo.text[0] ? 0 : 2;
	if (rc)
		return 3;
	return met(0) && !met(1) ? 0 : 4;
}

/* By a child, which may give up what this process still needs. */
static void check_in_child(int (*function)(bool), bool arg)
{
	const pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child)
		_exit(function(arg));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_seccomp(void **state)
{
	(void)state;
	if (under_valgrind())
		skip(); /* it needs the calls itself */
	check_in_child(scan_filtered, false);
	check_in_child(scan_filtered, true);
}

/* Nobody's, and with files in /proc that are root's: no page map, and still everything is found. */
static int scan_not_dumpable(bool unused)
{
	uint8_t *p = map_private(100 * PAGE);
	volatile uint64_t on_stack;
	int rc;

	(void)unused;
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 77;
	if (prctl(PR_SET_DUMPABLE, 0))
		return 77;
	plant(&on_stack, 0, 0);
	plant(p + 70 * PAGE, 1, 0);
	if (open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) >= 0)
		return 1;
	if (scan_create(&scan, &request, NULL))
		return 2;
	rc = scan_run(scan, NULL);
	on_stack = 0;
	if (rc)
		return 3;
	return met(0) && met(1) && !met(2) ? 0 : 4;
}

static void test_not_dumpable(void **state)
{
	(void)state;
	if (under_valgrind())
		skip(); /* its own files in /proc too */
	check_in_child(scan_not_dumpable, false);
}

/* --- limits --- */

static void test_cancelled(void **state)
{
	struct errinfo errinfo = { "" };

	(void)state;
	request.cancel_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(scan_create(&scan, &request, &errinfo), 0);
	assert_int_equal(scan_run(scan, &errinfo), -ECANCELED);
	assert_true(errinfo.text[0]);
	assert_int_equal(scan_counts(scan)->waited_ns, 0);
	close(request.cancel_fd);
}

static void *run_cancelled(void *arg)
{
	*(int *)arg = scan_run(scan, NULL);
	return NULL;
}

/* While it waits for its budget, which would take days. */
static void test_cancelled_waiting(void **state)
{
	struct errinfo errinfo = { "" };
	pthread_t thread;
	int rc = 0;

	(void)state;
	request.cancel_fd = eventfd(0, EFD_CLOEXEC);
	request.bytes_per_s = 1;
	assert_int_equal(scan_create(&scan, &request, &errinfo), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_cancelled, &rc), 0);
	assert_int_equal(eventfd_write(request.cancel_fd, 1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(rc, -ECANCELED);
	close(request.cancel_fd);
}

static void test_budget(void **state)
{
	const size_t bytes = 64 * MIB;
	volatile uint64_t on_stack;
	uint8_t *p = map_private(bytes);

	(void)state;
	memset(p, 1, bytes); /* so that it does take a while */
	plant(&on_stack, 0, 0);
	run();
	/* Three times as long as it needs. */
	request.bytes_per_s =
		scan_counts(scan)->bytes_read * NSEC_PER_SEC / (3 * scan_counts(scan)->elapsed_ns);
	run();
	assert_true(met(0));
	assert_true(scan_counts(scan)->waited_ns > 0);
	assert_true(scan_counts(scan)->waited_ns <= scan_counts(scan)->elapsed_ns);
	request.bytes_per_s = 0;
	request.cpu_percent = 5; /* less than it gets on a machine with other work */
	run();
	assert_true(scan_counts(scan)->waited_ns > 0);
	assert_true(scan_counts(scan)->elapsed_ns > 3 * scan_counts(scan)->cpu_ns);
	on_stack = 0;
	munmap(p, bytes);
}

static void test_no_descriptors(void **state)
{
	struct errinfo errinfo = { "" };
	struct rlimit old, few;

	(void)state;
	assert_int_equal(scan_create(&scan, &request, &errinfo), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned used = 0;; used++) {
		const int fd = dup(0);
		int rc;

		close(fd);
		few = old;
		few.rlim_cur = (rlim_t)fd + used;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		rc = scan_run(scan, &errinfo);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(dup(0), fd); /* none is left open */
		close(fd);
		if (!rc)
			break;
		assert_int_equal(rc, -EMFILE);
		assert_true(used < 3);
	}
}

static void test_wrong_request(void **state)
{
	struct errinfo errinfo = { "" };

	(void)state;
	blocks[1] = blocks[0];
	assert_int_equal(scan_create(&scan, &request, &errinfo), -EINVAL);
	assert_null(scan);
	assert_true(errinfo.text[0]);
	scan_destroy(NULL);
}

/* Another pass adds to the first; strays are kept. */

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCAN_TEST(test_unmapped),
		SCAN_TEST(test_rest_unmapped),
		SCAN_TEST(test_forbidden),
		SCAN_TEST(test_forbidden_later),
		SCAN_TEST(test_seccomp),
		SCAN_TEST(test_not_dumpable),
		SCAN_TEST(test_cancelled),
		SCAN_TEST(test_cancelled_waiting),
		SCAN_TEST(test_budget),
		SCAN_TEST(test_no_descriptors),
		SCAN_TEST(test_wrong_request),
	};

	return cmocka_run_group_tests_name("scan_changes", tests, NULL, NULL);
}
