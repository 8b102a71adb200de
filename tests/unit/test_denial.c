/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said when the kernel or a container refuses: the limit as it is, and what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/denial.h"

/* Lower a limit of this process to that, and hear what is said. */
static const char *say(int resource, rlim_t value, enum denial what, int err)
{
	static struct errinfo errinfo;
	struct rlimit before, now;

	assert_int_equal(getrlimit((enum __rlimit_resource)resource, &before), 0);
	now = before;
	now.rlim_cur = value;
	assert_int_equal(setrlimit((enum __rlimit_resource)resource, &now), 0);
	assert_int_equal(denial_explain(what, err, "doing this", &errinfo), err);
	assert_int_equal(setrlimit((enum __rlimit_resource)resource, &before), 0);
	assert_int_equal(strncmp(errinfo.text, "doing this: ", 12), 0);
	assert_true(strlen(errinfo.text) < sizeof(errinfo.text) - 1); /* whole */
	return errinfo.text;
}

static void says(const char *text, const char *const parts[])
{
	for (; *parts; parts++)
		if (!strstr(text, *parts))
			fail_msg("\"%s\" does not mention %s", text, *parts);
}

#define SAYS(text, ...) says(text, (const char *const[]){ __VA_ARGS__, NULL })

static void test_files(void **state)
{
	(void)state;
	SAYS(say(RLIMIT_NOFILE, 37, DENIED_FILE, -EMFILE), "RLIMIT_NOFILE", "is 37", "ulimit -n",
		"LimitNOFILE=", "container");
	SAYS(say(RLIMIT_NOFILE, 37, DENIED_PINNED, -EMFILE), "is 37");
	SAYS(say(RLIMIT_NOFILE, 37, DENIED_DEVICE, -ENFILE), "whole machine", "fs.file-max");
	SAYS(say(RLIMIT_FSIZE, 1UL << 20, DENIED_FILE, -EFBIG), "RLIMIT_FSIZE is 1.0 MiB",
		"ulimit -f", "LimitFSIZE=");
}

/* To "unlimited", hard limit and all: true. */
static bool raise_limit(int resource)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit((enum __rlimit_resource)resource, &all) == 0;
}

static void test_memory(void **state)
{
	const char *text;

	(void)state;
	SAYS(say(RLIMIT_MEMLOCK, 64 * 1024, DENIED_PINNED, -ENOMEM), "RLIMIT_MEMLOCK is 64.0 KiB",
		"ulimit -l", "limits.conf", "LimitMEMLOCK=", "memory.max");
	/* Only where this user may raise it. */
	if (raise_limit(RLIMIT_MEMLOCK)) {
		text = say(RLIMIT_MEMLOCK, RLIM_INFINITY, DENIED_PINNED, -ENOMEM);
		SAYS(text, "memory.max");
		assert_null(strstr(text, "RLIMIT_MEMLOCK"));
		SAYS(say(RLIMIT_MEMLOCK, RLIM_INFINITY, DENIED_PINNED, -EPERM), "seccomp");
	}
	SAYS(say(RLIMIT_AS, 1UL << 40, DENIED_MEMORY, -ENOMEM), "RLIMIT_AS", "is 1.0 TiB",
		"memory.max", "max_map_count");
}

static void test_threads(void **state)
{
	(void)state;
	SAYS(say(RLIMIT_NPROC, 12345, DENIED_THREAD, -EAGAIN), "RLIMIT_NPROC", "is 12345",
		"ulimit -u", "pids.max", "TasksMax=", "threads-max");
}

static void test_devices(void **state)
{
	(void)state;
	SAYS(say(RLIMIT_NOFILE, 100, DENIED_DEVICE, -EACCES), "Permission denied", "let uid ",
		"/dev/infiniband/uverbs*", "rdma_cm", "DeviceAllow=");
	SAYS(say(RLIMIT_NOFILE, 100, DENIED_DEVICE, -ENOENT), "ib_uverbs", "rdma_ucm", "rdma link",
		"--device=/dev/infiniband");
	SAYS(say(RLIMIT_NOFILE, 100, DENIED_PINNED, -EAGAIN), "rdma.max");
}

static void test_calls(void **state)
{
	(void)state;
	SAYS(say(RLIMIT_NOFILE, 100, DENIED_CALL, -EPERM), "seccomp", "SystemCallFilter=");
	SAYS(say(RLIMIT_NOFILE, 100, DENIED_CALL, -ENOSYS), "seccomp", "no such call");
}

/* The kernel's word for a limit of 0, without the capability. */
static void test_nothing_may_be_locked(void **state)
{
	(void)state;
	SAYS(say(RLIMIT_MEMLOCK, 0, DENIED_PINNED, -EPERM), "RLIMIT_MEMLOCK is 0 B", "ulimit -l");
}

/* Verbs say that there is no device. */
static void test_few_descriptors(void **state)
{
	struct rlimit before, now;
	struct errinfo errinfo = { "" };
	int rc, fd = dup(0);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = before;
	now.rlim_cur = (rlim_t)fd + 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	rc = denial_of_devices(&errinfo);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(rc, -EMFILE);
	SAYS(errinfo.text, "12 more descriptors are needed", "RLIMIT_NOFILE", "ulimit -n");
	assert_int_equal(dup(0), fd); /* nothing is left open */
	close(fd);
}

static void test_others(void **state)
{
	(void)state;
	assert_string_equal(
		say(RLIMIT_NOFILE, 100, DENIED_FILE, -EIO), "doing this: Input/output error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_nothing_may_be_locked),
		cmocka_unit_test(test_few_descriptors),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
