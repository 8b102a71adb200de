/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registered local buffers: which way bytes travel, wrong uses, and what buffers survive: fork(), kills of
 * rmemd, ended leases, other threads.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"
#include "tests/support/random.h"

/* ---- which way ---- */

/*
 * What is long and in no buffer is registered for the time of the call. What then turns out not to be there is
 * an error, of queues too.
 */
static void test_unmapped(void **state)
{
	const size_t bytes = 4 * MIB, hole = 3 * MIB;
	struct rmem_completion done;
	struct rig *r = *state;
	struct rmem_queue *q;
	struct rmem *rm;
	rmem_addr_t a;
	uint8_t *p;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	a = lib_alloc(rm, bytes);
	q = lib_queue(rm, 8);
	lib_expect(rmem_write(rm, a, (void *)16, 100000), -EFAULT, "100000 bytes of local memory");
	lib_expect(rmem_read(rm, (void *)16, a, 100000), -EFAULT, "not all of it is mapped");
	lib_succeed(rmem_start_write(q, a, (void *)16, 100000, 7));
	assert_int_equal(rmem_reap(q, &done, 1, -5), 1); /* for ever, as any negative number */
	assert_int_equal(done.status, -EFAULT);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	munmap(p + hole, 4096);
	lib_expect(rmem_write(rm, a, p, bytes), -EFAULT, "not all of it is mapped");
	lib_succeed(rmem_write(rm, a, p, hole));
	munmap(p, bytes);
	lib_succeed(rmem_free(rm, a));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

static void test_ways(void **state)
{
	struct rmem_stats last = RMEM_STATS_INIT, d;
	struct rig *r = *state;
	struct iovec local[8];
	struct rmem_iovec run;
	struct rmem *rm;
	rmem_addr_t addr;
	uint8_t *in, *out;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 4 * MIB);
	in = lib_buffer(rm, 4 * MIB);
	out = lib_zeroes(4 * MIB);
	/* Eight pieces of a buffer to one remote run: one request, one doorbell, no copy. */
	for (size_t i = 0; i < 8; i++)
		local[i] = (struct iovec){ in + i * 9001, 700 };
	run = (struct rmem_iovec){ addr, 8 * 700UL };
	lib_succeed(rmem_writev(rm, local, 8, &run, 1));
	lib_succeed(rmem_readv(rm, local, 8, &run, 1));
	d = lib_news(rm, &last);
	assert_int_equal(d.in_place_requests, 2);
	assert_int_equal(d.in_place_bytes, 2 * 8 * 700);
	assert_int_equal(d.doorbells, 2);
	/* Short reads too; short writes go inside the request. */
	lib_succeed(rmem_read(rm, in + 5, addr, 3));
	lib_succeed(rmem_write(rm, addr, in, 100));
	lib_succeed(rmem_write(rm, addr, out, 100));
	d = lib_news(rm, &last);
	assert_int_equal(d.in_place_requests, 1);
	assert_int_equal(d.in_place_bytes, 3);
	assert_int_equal(d.inline_requests, 2);
	assert_int_equal(d.inline_bytes, 200);
	/* Four requests, handed over at once. */
	lib_succeed(rmem_read(rm, in, addr, 4 * MIB));
	d = lib_news(rm, &last);
	assert_int_equal(d.in_place_bytes, 4 * MIB);
	assert_int_equal(d.in_place_requests, 4);
	assert_int_equal(d.doorbells, 1);
	assert_int_equal(d.slot_requests + d.registrations, 0);
	/* Not registered: short ones by copying, long ones by registering them once. */
	lib_succeed(rmem_read(rm, out, addr, 1000));
	lib_succeed(rmem_read(rm, out, addr, 4 * MIB));
	d = lib_news(rm, &last);
	assert_int_equal(d.slot_requests, 1);
	assert_int_equal(d.slot_bytes, 1000);
	assert_int_equal(d.registered_requests, 4);
	assert_int_equal(d.registered_bytes, 4 * MIB);
	assert_int_equal(d.registrations, 1);
	assert_int_equal(d.in_place_requests, 0);
	/* What has been released is like any other memory. */
	lib_succeed(rmem_buf_register(rm, out, 4 * MIB));
	lib_succeed(rmem_read(rm, out + 1, addr, 1000));
	lib_succeed(rmem_buf_release(rm, out));
	lib_succeed(rmem_read(rm, out + 1, addr, 1000));
	d = lib_news(rm, &last);
	assert_int_equal(d.in_place_requests, 1);
	assert_int_equal(d.slot_requests, 1);
	free(out);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm)); /* releases in */
	rig_stop(r, false);
}

/* ---- wrong uses ---- */

#define FRUGAL_LIMIT (4 * MIB) /* room for the library's own needs */

/* A process that may not lock as much as it would like to. It must be so from the start. */
static int be_frugal(const char *server)
{
	static const struct rlimit limit = { FRUGAL_LIMIT, FRUGAL_LIMIT };
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];
	void *p = NULL, *untouched = &p;
	struct rmem *rm;

	if (syscall(SYS_capget, &header, caps))
		return 2;
	caps[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &header, caps) || setrlimit(RLIMIT_MEMLOCK, &limit))
		return 3;
	rm = lib_open(server, 0);
	if (rmem_buf_alloc(rm, FRUGAL_LIMIT, &untouched) != -ENOMEM || untouched != &p)
		return 4;
	if (!strstr(rmem_errmsg(), "ulimit -l") || !strstr(rmem_errmsg(), "4096 KiB"))
		return 5;
	/* Less is possible, as often as it is given back. */
	for (int i = 0; i < 5; i++)
		if (rmem_buf_alloc(rm, FRUGAL_LIMIT / 2, &p) || rmem_buf_release(rm, p))
			return 6;
	return rmem_close(rm) ? 7 : 0;
}

static void test_locked_memory_limit(void **state)
{
	struct rig *r = *state;
	const char *const argv[] = { "/proc/self/exe", "frugal", r->server, NULL };
	struct process frugal;

	rig_start(r, NULL);
	process_start(&frugal, argv, (const int[]){ -1, -1, -1 });
	assert_int_equal(process_wait(&frugal, RIG_LIMIT_MS, "frugal client"), 0);
	rig_stop(r, false);
}

static void test_wrong_buffers(void **state)
{
	struct rmem_stats stats = { .size = 8 };
	void *untouched = state;
	struct rig *r = *state;
	struct rmem *rm;
	uint8_t *p, *q;
	void *mapped;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	p = lib_buffer(rm, 10000);
	assert_int_equal((uintptr_t)p % 4096, 0);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(p[i], 0);
	q = lib_zeroes(10000);
	lib_expect(rmem_buf_alloc(rm, 0, &untouched), -EINVAL, "0 bytes");
	lib_expect(rmem_buf_alloc(rm, SIZE_MAX, &untouched), -ENOMEM, "map");
	lib_expect(rmem_buf_alloc(rm, 100, NULL), -EINVAL, "out is NULL");
	lib_expect(rmem_buf_alloc(NULL, 100, &untouched), -EINVAL, "session is NULL");
	lib_expect(rmem_buf_register(rm, q, 0), -EINVAL, "0 bytes");
	lib_expect(rmem_buf_register(rm, NULL, 10), -EINVAL, "NULL");
	lib_expect(rmem_buf_register(rm, q, SIZE_MAX), -EINVAL, "address space");
	lib_expect(rmem_buf_register(rm, p, 10000), -EINVAL, "overlap");
	lib_expect(rmem_buf_register(rm, p + 9999, 1), -EINVAL, "overlap");
	lib_succeed(rmem_buf_register(rm, p + 10000, 1)); /* a neighbour: the end of its page */
	lib_expect(rmem_buf_release(rm, p + 1), -EINVAL, "not its beginning");
	lib_expect(rmem_buf_release(rm, q), -EINVAL, "rmem_buf_register");
	lib_succeed(rmem_buf_release(rm, NULL));
	lib_succeed(rmem_buf_release(rm, p + 10000));
	lib_succeed(rmem_buf_release(rm, p));
	lib_expect(rmem_buf_release(rm, p), -EINVAL, "already");
	lib_succeed(rmem_buf_register(rm, q, 10000));
	lib_succeed(rmem_buf_release(rm, q));
	/* Memory that cannot be written to, or is not there. */
	mapped = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(mapped != MAP_FAILED);
	lib_expect(rmem_buf_register(rm, mapped, 8192), -EINVAL, "writable");
	munmap(mapped, 8192);
	lib_expect(rmem_buf_register(rm, mapped, 8192), -EINVAL, "mapped");
	assert_ptr_equal(untouched, state);
	lib_expect(rmem_stats(rm, NULL), -EINVAL, "NULL");
	lib_expect(rmem_stats(rm, &stats), -EINVAL, "size");
	free(q);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* A program with AddressSanitizer: what it must not touch, the device does not either. */
static void test_poison(void **state)
{
	struct rig *r = *state;
	const char *const argv[] = { TESTS_BIN_DIR "/poisoned", r->server, NULL };
	struct process poisoned;

	rig_start(r, NULL);
	process_start(&poisoned, argv, (const int[]){ -1, -1, -1 });
	assert_int_equal(process_wait(&poisoned, RIG_LIMIT_MS, "poisoned"), 0);
	rig_stop(r, false);
}

static int use_in_child(struct rmem *rm, void *buf, rmem_addr_t word)
{
	struct rmem_stats stats = RMEM_STATS_INIT;
	uint64_t old;
	void *p;

	if (rmem_buf_alloc(rm, 1, &p) != -EPERM || rmem_buf_register(rm, &old, 8) != -EPERM ||
		rmem_buf_release(rm, buf) != -EPERM || rmem_stats(rm, &stats) != -EPERM)
		return 1;
	if (rmem_fetch_add(rm, word, 1, &old) != -EPERM ||
		rmem_compare_swap(rm, word, 0, 1, &old) != -EPERM)
		return 2;
	return rmem_close(rm) == 0 ? 0 : 3;
}

static void test_fork(void **state)
{
	struct rmem_stats last = RMEM_STATS_INIT;
	struct rig *r = *state;
	rmem_addr_t addr;
	struct rmem *rm;
	uint8_t *p;
	int status;
	pid_t pid;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, 4096);
	p = lib_buffer(rm, 4096);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(use_in_child(rm, p, addr));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The parent's buffer is as it was. */
	pattern_fill(p, 4096, 9);
	lib_succeed(rmem_write(rm, addr, p, 4096));
	memset(p, 0, 4096);
	lib_succeed(rmem_read(rm, p, addr, 4096));
	assert_int_equal(pattern_check(p, 4096, 9), -1);
	assert_int_equal(lib_news(rm, &last).in_place_requests, 2);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- what buffers survive ---- */

/* Write and read through a buffer: without a copy, and right. */
static int use_in_place(struct rmem *rm, uint8_t *p, rmem_addr_t addr, size_t bytes, uint64_t seed)
{
	struct rmem_stats before = RMEM_STATS_INIT, after = RMEM_STATS_INIT;
	int rc;

	pattern_fill(p, bytes, seed);
	rc = rmem_stats(rm, &before);
	if (rc == 0)
		rc = rmem_write(rm, addr, p, bytes);
	memset(p, 0, bytes);
	if (rc == 0)
		rc = rmem_read(rm, p, addr, bytes);
	if (rc == 0)
		rc = rmem_stats(rm, &after);
	if (rc)
		return rc;
	if (pattern_check(p, bytes, seed) >= 0)
		return -EBADMSG;
	return after.in_place_bytes - before.in_place_bytes >= 2 * bytes &&
			       after.slot_requests == before.slot_requests &&
			       after.registrations == before.registrations
		       ? 0
		       : -EPROTO;
}

static void test_buffers_survive_a_kill(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addr;
	struct rmem *rm;
	uint8_t *p, *q;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	addr = lib_alloc(rm, MIB);
	p = lib_buffer(rm, MIB);
	q = lib_zeroes(MIB);
	for (uint64_t i = 1; i <= 3; i++) {
		lib_succeed(use_in_place(rm, p, addr, MIB, i));
		rig_kill(r);
		/* It needs no server. */
		lib_succeed(rmem_buf_register(rm, q, MIB));
		rig_start(r, NULL);
		memset(p, 0, MIB);
		lib_succeed(rmem_read(rm, p, addr, MIB));
		assert_int_equal(pattern_check(p, MIB, i), -1);
		lib_succeed(use_in_place(rm, q, addr, 1000, 99));
		lib_succeed(rmem_buf_release(rm, q));
	}
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	free(q);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

#define SLEEPER_BYTES 100000UL

/* A process that uses a buffer whenever a byte comes in, and answers whether it went well. */
static int be_sleeper(const char *server)
{
	struct rmem *rm = lib_open(server, 0);
	uint8_t *p = lib_buffer(rm, SLEEPER_BYTES);
	rmem_addr_t addr = lib_alloc(rm, SLEEPER_BYTES);
	char byte;

	while (read(STDIN_FILENO, &byte, 1) == 1) {
		int rc = use_in_place(rm, p, addr, SLEEPER_BYTES, (uint64_t)(byte | 1));

		if (rc)
			fprintf(stderr, "sleeper: %d %s\n", rc, rmem_errmsg());
		if (write(STDOUT_FILENO, rc ? "-" : "+", 1) != 1)
			return 1;
	}
	return rmem_free(rm, addr) || rmem_close(rm);
}

static void ask_sleeper(const int orders, const int answers)
{
	struct pollfd news = { .fd = answers, .events = POLLIN };
	char answer = 0;

	assert_int_equal(write(orders, "x", 1), 1);
	assert_int_equal(poll(&news, 1, RIG_LIMIT_MS), 1);
	assert_int_equal(read(answers, &answer, 1), 1);
	assert_int_equal(answer, '+');
}

static bool is_revoked(const json_t *sessions, void *arg)
{
	const json_t *session = rig_session(sessions, *(pid_t *)arg);

	return session && strcmp(rig_text(session, "lease"), "courtesy") == 0 &&
	       strcmp(rig_text(session, "state"), "detached") == 0;
}

static void test_buffers_survive_a_resume(void **state)
{
	struct rig *r = *state;
	const char *const argv[] = { "/proc/self/exe", "sleeper", r->server, NULL };
	int orders[2], answers[2];
	struct process sleeper;
	siginfo_t info;

	rig_start(r, (const char *const[]){ "--ttl", "1s", "--reclaim", "never", NULL });
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
	process_start(&sleeper, argv, (const int[]){ orders[0], answers[1], -1 });
	close(orders[0]);
	close(answers[1]);
	ask_sleeper(orders[1], answers[0]);
	process_signal(&sleeper, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)sleeper.pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	json_decref(rig_await(r, "sessions", is_revoked, &sleeper.pid, "access is revoked"));
	process_signal(&sleeper, SIGCONT);
	ask_sleeper(orders[1], answers[0]);
	assert_true(rig_ask_number(r, "status", "counters.resumes") >= 1);
	close(orders[1]);
	assert_int_equal(process_wait(&sleeper, RIG_LIMIT_MS, "sleeper"), 0);
	close(answers[0]);
	rig_stop(r, false);
}

/* ---- threads ---- */

struct mover {
	pthread_t thread;
	struct rmem *rm;
	uint8_t *p;
	rmem_addr_t addr;
	uint64_t seed;
	char failure[256];
};

static void *move(void *arg)
{
	struct mover *m = arg;

	for (uint64_t i = 0; i < 150 && !m->failure[0]; i++) {
		size_t bytes = 600 + random_below(&m->seed, 100000);
		int rc = use_in_place(m->rm, m->p, m->addr, bytes, random_u64(&m->seed) | 1);

		/* Others' requests are counted too: only the bytes matter. */
		if (rc && rc != -EPROTO)
			snprintf(m->failure, sizeof(m->failure), "%d %.200s", rc, rmem_errmsg());
	}
	return NULL;
}

/* Buffers come and go while others are in use. */
static void *churn(void *arg)
{
	struct mover *m = arg;
	void *p[8];

	for (int i = 0; i < 60 && !m->failure[0]; i++) {
		int rc = 0;

		for (int k = 0; k < 8 && rc == 0; k++)
			rc = rmem_buf_alloc(m->rm, 4096 * (1 + random_below(&m->seed, 20)), &p[k]);
		for (int k = 0; k < 8 && rc == 0; k++)
			rc = rmem_buf_release(m->rm, p[(k * 3) % 8]);
		if (rc)
			snprintf(m->failure, sizeof(m->failure), "%d %.200s", rc, rmem_errmsg());
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct mover movers[4] = { 0 };
	struct rig *r = *state;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	for (int i = 0; i < 4; i++) {
		movers[i] = (struct mover){ .rm = rm, .seed = 70 + (uint64_t)i };
		movers[i].addr = lib_alloc(rm, 200000);
		movers[i].p = lib_buffer(rm, 200000);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&movers[i].thread, NULL, i ? move : churn, &movers[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(movers[i].thread, NULL);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(movers[i].failure, "");
		lib_succeed(rmem_free(rm, movers[i].addr));
	}
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_ways),
		RIG_TEST(test_unmapped),
		RIG_TEST(test_wrong_buffers),
		RIG_TEST(test_locked_memory_limit),
		RIG_TEST(test_poison),
		RIG_TEST(test_fork),
		RIG_TEST(test_buffers_survive_a_kill),
		RIG_TEST(test_buffers_survive_a_resume),
		RIG_TEST(test_threads),
	};

	if (argc == 3 && strcmp(argv[1], "sleeper") == 0)
		return be_sleeper(argv[2]);
	if (argc == 3 && strcmp(argv[1], "frugal") == 0)
		return be_frugal(argv[2]);
	return rig_main(RIG_PORT_REGISTERED, tests, sizeof(tests) / sizeof(tests[0]));
}
