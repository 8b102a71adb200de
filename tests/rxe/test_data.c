/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path: how bytes travel between local memory of every kind and remote memory, that none
 * goes astray, and atomic operations, also while rmemd is killed under them.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/rxe/pattern.h"
#include "tests/support/random.h"

#define KIB 1024UL
#define MIB (1024 * KIB)

static void succeed(int rc)
{
	if (rc)
		fail_msg("%d (%s): %s", rc, strerror(abs(rc)), rmem_errmsg());
}

/* The call must fail with this error, and the message must mention that. */
static void expect(int rc, int wanted, const char *mention)
{
	if (rc != wanted || !strstr(rmem_errmsg(), mention))
		fail_msg("%d instead of %d, '%s': %s", rc, wanted, mention, rmem_errmsg());
}

static struct rmem *open_session(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = NULL;

	attr.timeout_ms = RIG_LIMIT_MS;
	succeed(rmem_open(server, &attr, &rm));
	return rm;
}

static rmem_addr_t allocate(struct rmem *rm, size_t bytes)
{
	rmem_addr_t addr = 0;

	succeed(rmem_alloc(rm, bytes, NULL, &addr));
	return addr;
}

static void *buffer(struct rmem *rm, size_t bytes)
{
	void *p = NULL;

	succeed(rmem_buf_alloc(rm, bytes, &p));
	return p;
}

/* What has happened since the last look. */
static struct rmem_stats news(struct rmem *rm, struct rmem_stats *last)
{
	struct rmem_stats now = RMEM_STATS_INIT, d = RMEM_STATS_INIT;

	succeed(rmem_stats(rm, &now));
	d.in_place_requests = now.in_place_requests - last->in_place_requests;
	d.in_place_bytes = now.in_place_bytes - last->in_place_bytes;
	d.inline_requests = now.inline_requests - last->inline_requests;
	d.inline_bytes = now.inline_bytes - last->inline_bytes;
	d.slot_requests = now.slot_requests - last->slot_requests;
	d.slot_bytes = now.slot_bytes - last->slot_bytes;
	d.registered_requests = now.registered_requests - last->registered_requests;
	d.registered_bytes = now.registered_bytes - last->registered_bytes;
	d.registrations = now.registrations - last->registrations;
	d.doorbells = now.doorbells - last->doorbells;
	d.atomics = now.atomics - last->atomics;
	*last = now;
	return d;
}

/* ---- shapes ---- */

#define AREAS 3
#define AREA_BYTES (320 * KIB)
#define REMOTE_BYTES (AREAS * AREA_BYTES + 64 * KIB)
#define PIECES 24
#define ROUNDS 400

/* Local memory of each kind, remote memory, and what both must hold. */
struct world {
	struct rmem *rm;
	uint8_t *areas[AREAS], *area_models[AREAS];
	rmem_addr_t remote[2];
	uint8_t *remote_models[2];
	struct iovec local[PIECES];
	int local_area[PIECES];
	struct rmem_iovec pieces[PIECES];
	int nlocal, nremote;
	size_t total;
	uint64_t seed;
};

static uint8_t *zeroes(size_t bytes)
{
	uint8_t *p = calloc(1, bytes);

	assert_non_null(p);
	return p;
}

/* One area wholly registered, one not at all, one with a registered middle. */
static void world_create(struct world *w, struct rmem *rm)
{
	*w = (struct world){ .rm = rm, .seed = 2026 };
	for (int i = 0; i < AREAS; i++) {
		w->areas[i] = i ? zeroes(AREA_BYTES) : buffer(rm, AREA_BYTES);
		w->area_models[i] = zeroes(AREA_BYTES);
	}
	succeed(rmem_buf_register(rm, w->areas[2] + 100 * KIB, 100 * KIB));
	for (int i = 0; i < 2; i++) {
		w->remote[i] = allocate(rm, REMOTE_BYTES);
		w->remote_models[i] = zeroes(REMOTE_BYTES);
	}
}

static void world_destroy(struct world *w)
{
	succeed(rmem_buf_release(w->rm, w->areas[0]));
	succeed(rmem_buf_release(w->rm, w->areas[2] + 100 * KIB));
	for (int i = 0; i < AREAS; i++) {
		if (i)
			free(w->areas[i]);
		free(w->area_models[i]);
	}
	for (int i = 0; i < 2; i++) {
		succeed(rmem_free(w->rm, w->remote[i]));
		free(w->remote_models[i]);
	}
}

static size_t some_length(uint64_t *seed)
{
	static const size_t limits[] = { 1, 9, 65, 600, 5000, 70000, 200000 };

	return random_below(seed, limits[random_below(seed, sizeof(limits) / sizeof(limits[0]))]);
}

/* Pieces that do not overlap, each in a random area behind the last one there. */
static void choose_local(struct world *w)
{
	size_t at[AREAS];

	for (int i = 0; i < AREAS; i++)
		at[i] = random_below(&w->seed, AREA_BYTES / 2);
	w->nlocal = 1 + (int)random_below(&w->seed, PIECES);
	w->total = 0;
	for (int i = 0; i < w->nlocal; i++) {
		int area = (int)random_below(&w->seed, AREAS);
		size_t len = some_length(&w->seed);

		if (len > AREA_BYTES - at[area])
			len = AREA_BYTES - at[area];
		w->local[i] = (struct iovec){ w->areas[area] + at[area], len };
		w->local_area[i] = area;
		at[area] += len;
		if (at[area] < AREA_BYTES)
			at[area] += random_below(&w->seed, 2);
		w->total += len;
	}
}

/* As many bytes remotely: often neighbours, sometimes with a gap, in either allocation. */
static void choose_remote(struct world *w)
{
	size_t at[2] = { random_below(&w->seed, 2000), random_below(&w->seed, 2000) };
	size_t left = w->total;
	int which = 0;

	w->nremote = 1 + (int)random_below(&w->seed, PIECES);
	for (int i = 0; i < w->nremote; i++) {
		size_t len = some_length(&w->seed);

		if (i == w->nremote - 1 || len > left)
			len = left;
		if (random_below(&w->seed, 3) == 0)
			which = !which;
		if (random_below(&w->seed, 3) == 0)
			at[which] += random_below(&w->seed, 2000);
		w->pieces[i] = (struct rmem_iovec){ w->remote[which] + at[which], len };
		at[which] += len;
		left -= len;
	}
}

static uint8_t *in_area_model(const struct world *w, int piece)
{
	int area = w->local_area[piece];

	return w->area_models[area] + ((uint8_t *)w->local[piece].iov_base - w->areas[area]);
}

static uint8_t *in_remote_model(const struct world *w, int piece)
{
	rmem_addr_t base = w->pieces[piece].base;
	int which = base - w->remote[0] > REMOTE_BYTES;

	return w->remote_models[which] + (base - w->remote[which]);
}

/* The same copy between the models, byte by byte. */
static void copy_models(struct world *w, bool write)
{
	size_t done = 0;
	int r = 0;

	for (int l = 0; l < w->nlocal; l++) {
		uint8_t *local = in_area_model(w, l);

		for (size_t i = 0; i < w->local[l].iov_len; i++, done++) {
			uint8_t *remote;

			for (; done == w->pieces[r].len; done = 0)
				r++;
			remote = in_remote_model(w, r) + done;
			*(write ? remote : local + i) = *(write ? local + i : remote);
		}
	}
}

static void compare_remote(struct world *w)
{
	uint8_t *bytes = zeroes(REMOTE_BYTES);

	for (int i = 0; i < 2; i++) {
		succeed(rmem_read(w->rm, bytes, w->remote[i], REMOTE_BYTES));
		assert_memory_equal(bytes, w->remote_models[i], REMOTE_BYTES);
	}
	free(bytes);
}

static void one_shape(struct world *w)
{
	const bool write = random_below(&w->seed, 2);

	choose_local(w);
	choose_remote(w);
	for (int i = 0; write && i < w->nlocal; i++) {
		const struct iovec *piece = &w->local[i];

		pattern_fill(piece->iov_base, piece->iov_len, random_u64(&w->seed) | 1);
		memcpy(in_area_model(w, i), piece->iov_base, piece->iov_len);
	}
	copy_models(w, write);
	if (write)
		succeed(rmem_writev(w->rm, w->local, w->nlocal, w->pieces, w->nremote));
	else
		succeed(rmem_readv(w->rm, w->local, w->nlocal, w->pieces, w->nremote));
	for (int i = 0; i < AREAS; i++)
		assert_memory_equal(w->areas[i], w->area_models[i], AREA_BYTES);
}

static void test_shapes(void **state)
{
	struct rmem_stats last = RMEM_STATS_INIT, d;
	struct rig *r = *state;
	size_t total = 0;
	struct world w;

	rig_start(r, NULL);
	world_create(&w, open_session(r->server));
	for (int i = 1; i <= ROUNDS; i++) {
		one_shape(&w);
		total += w.total;
		if (i % 50 == 0) {
			compare_remote(&w);
			total += 2 * REMOTE_BYTES;
		}
	}
	/* Each byte has travelled once, and all ways were taken. */
	d = news(w.rm, &last);
	assert_int_equal(
		d.in_place_bytes + d.inline_bytes + d.slot_bytes + d.registered_bytes, total);
	assert_true(d.in_place_bytes && d.inline_bytes && d.slot_bytes && d.registered_bytes);
	printf("%d shapes: %" PRIu64 " requests in place, %" PRIu64 " inline, %" PRIu64
	       " through slots, %" PRIu64 " registered; %" PRIu64 " doorbells\n",
		ROUNDS, d.in_place_requests, d.inline_requests, d.slot_requests,
		d.registered_requests, d.doorbells);
	assert_true(d.doorbells < d.in_place_requests + d.inline_requests + d.slot_requests +
					  d.registered_requests);
	world_destroy(&w);
	succeed(rmem_close(w.rm));
	rig_stop(r, false);
}

/* ---- which way ---- */

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
	rm = open_session(r->server);
	addr = allocate(rm, 4 * MIB);
	in = buffer(rm, 4 * MIB);
	out = zeroes(4 * MIB);
	/* Eight pieces of a buffer to one remote run: one request, one doorbell, no copy. */
	for (size_t i = 0; i < 8; i++)
		local[i] = (struct iovec){ in + i * 9001, 700 };
	run = (struct rmem_iovec){ addr, 8 * 700UL };
	succeed(rmem_writev(rm, local, 8, &run, 1));
	succeed(rmem_readv(rm, local, 8, &run, 1));
	d = news(rm, &last);
	assert_int_equal(d.in_place_requests, 2);
	assert_int_equal(d.in_place_bytes, 2 * 8 * 700);
	assert_int_equal(d.doorbells, 2);
	/* Short reads too; short writes go inside the request. */
	succeed(rmem_read(rm, in + 5, addr, 3));
	succeed(rmem_write(rm, addr, in, 100));
	succeed(rmem_write(rm, addr, out, 100));
	d = news(rm, &last);
	assert_int_equal(d.in_place_requests, 1);
	assert_int_equal(d.in_place_bytes, 3);
	assert_int_equal(d.inline_requests, 2);
	assert_int_equal(d.inline_bytes, 200);
	/* Four requests, handed over at once. */
	succeed(rmem_read(rm, in, addr, 4 * MIB));
	d = news(rm, &last);
	assert_int_equal(d.in_place_bytes, 4 * MIB);
	assert_int_equal(d.in_place_requests, 4);
	assert_int_equal(d.doorbells, 1);
	assert_int_equal(d.slot_requests + d.registrations, 0);
	/* Not registered: short ones by copying, long ones by registering them once. */
	succeed(rmem_read(rm, out, addr, 1000));
	succeed(rmem_read(rm, out, addr, 4 * MIB));
	d = news(rm, &last);
	assert_int_equal(d.slot_requests, 1);
	assert_int_equal(d.slot_bytes, 1000);
	assert_int_equal(d.registered_requests, 4);
	assert_int_equal(d.registered_bytes, 4 * MIB);
	assert_int_equal(d.registrations, 1);
	assert_int_equal(d.in_place_requests, 0);
	/* What has been released is like any other memory. */
	succeed(rmem_buf_register(rm, out, 4 * MIB));
	succeed(rmem_read(rm, out + 1, addr, 1000));
	succeed(rmem_buf_release(rm, out));
	succeed(rmem_read(rm, out + 1, addr, 1000));
	d = news(rm, &last);
	assert_int_equal(d.in_place_requests, 1);
	assert_int_equal(d.slot_requests, 1);
	free(out);
	succeed(rmem_free(rm, addr));
	succeed(rmem_close(rm)); /* releases in */
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
	rm = open_session(server);
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
	rm = open_session(r->server);
	p = buffer(rm, 10000);
	assert_int_equal((uintptr_t)p % 4096, 0);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(p[i], 0);
	q = zeroes(10000);
	expect(rmem_buf_alloc(rm, 0, &untouched), -EINVAL, "0 bytes");
	expect(rmem_buf_alloc(rm, SIZE_MAX, &untouched), -ENOMEM, "map");
	expect(rmem_buf_alloc(rm, 100, NULL), -EINVAL, "out is NULL");
	expect(rmem_buf_alloc(NULL, 100, &untouched), -EINVAL, "session is NULL");
	expect(rmem_buf_register(rm, q, 0), -EINVAL, "0 bytes");
	expect(rmem_buf_register(rm, NULL, 10), -EINVAL, "NULL");
	expect(rmem_buf_register(rm, q, SIZE_MAX), -EINVAL, "address space");
	expect(rmem_buf_register(rm, p, 10000), -EINVAL, "overlap");
	expect(rmem_buf_register(rm, p + 9999, 1), -EINVAL, "overlap");
	succeed(rmem_buf_register(rm, p + 10000, 1)); /* a neighbour: the end of its page */
	expect(rmem_buf_release(rm, p + 1), -EINVAL, "not its beginning");
	expect(rmem_buf_release(rm, q), -EINVAL, "rmem_buf_register");
	expect(rmem_buf_release(rm, NULL), -EINVAL, "");
	succeed(rmem_buf_release(rm, p + 10000));
	succeed(rmem_buf_release(rm, p));
	expect(rmem_buf_release(rm, p), -EINVAL, "already");
	succeed(rmem_buf_register(rm, q, 10000));
	succeed(rmem_buf_release(rm, q));
	/* Memory that cannot be written to, or is not there. */
	mapped = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(mapped != MAP_FAILED);
	expect(rmem_buf_register(rm, mapped, 8192), -EINVAL, "writable");
	munmap(mapped, 8192);
	expect(rmem_buf_register(rm, mapped, 8192), -EINVAL, "mapped");
	assert_ptr_equal(untouched, state);
	expect(rmem_stats(rm, NULL), -EINVAL, "NULL");
	expect(rmem_stats(rm, &stats), -EINVAL, "size");
	free(q);
	succeed(rmem_close(rm));
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
	rm = open_session(r->server);
	addr = allocate(rm, 4096);
	p = buffer(rm, 4096);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(use_in_child(rm, p, addr));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The parent's buffer is as it was. */
	pattern_fill(p, 4096, 9);
	succeed(rmem_write(rm, addr, p, 4096));
	memset(p, 0, 4096);
	succeed(rmem_read(rm, p, addr, 4096));
	assert_int_equal(pattern_check(p, 4096, 9), -1);
	assert_int_equal(news(rm, &last).in_place_requests, 2);
	succeed(rmem_free(rm, addr));
	succeed(rmem_close(rm));
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
	rm = open_session(r->server);
	addr = allocate(rm, MIB);
	p = buffer(rm, MIB);
	q = zeroes(MIB);
	for (uint64_t i = 1; i <= 3; i++) {
		succeed(use_in_place(rm, p, addr, MIB, i));
		rig_kill(r);
		/* It needs no server. */
		succeed(rmem_buf_register(rm, q, MIB));
		rig_start(r, NULL);
		memset(p, 0, MIB);
		succeed(rmem_read(rm, p, addr, MIB));
		assert_int_equal(pattern_check(p, MIB, i), -1);
		succeed(use_in_place(rm, q, addr, 1000, 99));
		succeed(rmem_buf_release(rm, q));
	}
	assert_int_equal(rig_ask_number(r, "status", "sessions.connected"), 1);
	free(q);
	succeed(rmem_free(rm, addr));
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

#define SLEEPER_BYTES 100000UL

/* A process that uses a buffer whenever a byte comes in, and answers whether it went well. */
static int be_sleeper(const char *server)
{
	struct rmem *rm = open_session(server);
	uint8_t *p = buffer(rm, SLEEPER_BYTES);
	rmem_addr_t addr = allocate(rm, SLEEPER_BYTES);
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
	char answer = 0;

	assert_int_equal(write(orders, "x", 1), 1);
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
	rm = open_session(r->server);
	for (int i = 0; i < 4; i++) {
		movers[i] = (struct mover){ .rm = rm, .seed = 70 + (uint64_t)i };
		movers[i].addr = allocate(rm, 200000);
		movers[i].p = buffer(rm, 200000);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&movers[i].thread, NULL, i ? move : churn, &movers[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(movers[i].thread, NULL);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(movers[i].failure, "");
		succeed(rmem_free(rm, movers[i].addr));
	}
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- atomic operations ---- */

static uint64_t read_word(struct rmem *rm, rmem_addr_t addr)
{
	uint64_t word;

	succeed(rmem_read(rm, &word, addr, sizeof(word)));
	return word;
}

static void test_atomics(void **state)
{
	struct rig *r = *state;
	rmem_addr_t addr, end;
	uint64_t old = 77;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = open_session(r->server);
	addr = allocate(rm, 28);
	end = addr + 24;
	succeed(rmem_fetch_add(rm, addr, 5, &old));
	assert_int_equal(old, 0);
	succeed(rmem_fetch_add(rm, addr, UINT64_MAX, &old)); /* -1 */
	assert_int_equal(old, 5);
	succeed(rmem_compare_swap(rm, addr, 4, 0x1122334455667788, &old));
	assert_int_equal(old, 4);
	assert_int_equal(read_word(rm, addr), 0x1122334455667788);
	succeed(rmem_compare_swap(rm, addr, 4, 9, &old));
	assert_int_equal(old, 0x1122334455667788); /* and nothing was stored */
	succeed(rmem_fetch_add(rm, addr, 0, NULL));
	succeed(rmem_compare_swap(rm, addr, old, 3, NULL));
	assert_int_equal(read_word(rm, addr), 3);
	succeed(rmem_fetch_add(rm, addr + 16, 1, NULL)); /* the last whole word */
	assert_int_equal(read_word(rm, addr + 8), 0);    /* a neighbour */

	old = 77;
	for (unsigned i = 1; i < 8; i++)
		expect(rmem_fetch_add(rm, addr + i, 1, &old), -EINVAL, "multiple of 8");
	expect(rmem_compare_swap(rm, addr + 4, 0, 1, &old), -EINVAL, "multiple of 8");
	expect(rmem_fetch_add(rm, end, 1, &old), -EFAULT, "pass the end");
	expect(rmem_fetch_add(rm, addr + 32, 1, &old), -EFAULT, "not in any");
	expect(rmem_compare_swap(rm, addr - 8, 0, 1, &old), -EFAULT, "not in any");
	expect(rmem_fetch_add(rm, 0, 1, &old), -EFAULT, "");
	expect(rmem_fetch_add(NULL, addr, 1, &old), -EINVAL, "NULL");
	assert_int_equal(old, 77);
	succeed(rmem_free(rm, addr));
	expect(rmem_fetch_add(rm, addr, 1, &old), -EFAULT, "not in any");
	succeed(rmem_close(rm));
	rig_stop(r, false);
}

#define ADDERS 4

struct adder {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t word;
	uint64_t id;
	atomic_bool *stop;
	_Atomic uint64_t added;
	uint64_t unknown, refused;
	unsigned rounds; /* 0: until *stop */
	int failure;
};

static void *add(void *arg)
{
	struct adder *a = arg;

	for (unsigned i = 0; a->rounds ? i < a->rounds : !atomic_load(a->stop); i++) {
		int rc = rmem_fetch_add(a->rm, a->word, 1, NULL);

		if (rc == 0)
			a->added++;
		else if (rc == -EREMOTEIO)
			a->unknown++;
		else if (rc == -ECONNRESET || rc == -ETIMEDOUT)
			a->refused++;
		else
			a->failure = rc;
	}
	return NULL;
}

/* A lock of the word behind the counter: the holder's number. What it protects is no atomic. */
static void *add_locked(void *arg)
{
	struct adder *a = arg;
	uint64_t old = 0, value = 0;

	for (unsigned i = 0; i < a->rounds && !a->failure; i++) {
		do
			a->failure = rmem_compare_swap(a->rm, a->word + 8, 0, a->id, &old);
		while (!a->failure && old);
		if (!a->failure)
			a->failure = rmem_read(a->rm, &value, a->word, 8);
		value++;
		if (!a->failure)
			a->failure = rmem_write(a->rm, a->word, &value, 8);
		if (!a->failure)
			a->failure = rmem_compare_swap(a->rm, a->word + 8, a->id, 0, &old);
		if (!a->failure && old != a->id)
			a->failure = -EBADMSG;
	}
	return NULL;
}

static void start_adders(struct adder *adders, const struct adder *like, void *(*body)(void *))
{
	for (unsigned i = 0; i < ADDERS; i++) {
		adders[i] = *like;
		adders[i].id = i + 1;
		assert_int_equal(pthread_create(&adders[i].thread, NULL, body, &adders[i]), 0);
	}
}

static void join_adders(struct adder *adders)
{
	for (unsigned i = 0; i < ADDERS; i++)
		pthread_join(adders[i].thread, NULL);
	for (unsigned i = 0; i < ADDERS; i++)
		assert_int_equal(adders[i].failure, 0);
}

static void test_atomics_of_threads(void **state)
{
	struct adder adders[ADDERS], like = { .rounds = 500 };
	struct rig *r = *state;

	rig_start(r, NULL);
	like.rm = open_session(r->server);
	like.word = allocate(like.rm, 16);
	start_adders(adders, &like, add);
	join_adders(adders);
	assert_int_equal(read_word(like.rm, like.word), ADDERS * 500);
	like.rounds = 50;
	start_adders(adders, &like, add_locked);
	join_adders(adders);
	assert_int_equal(read_word(like.rm, like.word), ADDERS * 550);
	succeed(rmem_free(like.rm, like.word));
	succeed(rmem_close(like.rm));
	rig_stop(r, false);
}

static uint64_t added(const struct adder *adders)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ADDERS; i++)
		sum += atomic_load(&adders[i].added);
	return sum;
}

#define KILLS 8

/* rmemd is killed under them: what is counted is what was done, give or take what is not known. */
static void test_atomics_and_kills(void **state)
{
	struct adder adders[ADDERS], like = { 0 };
	uint64_t value, sum, unknown = 0, refused = 0;
	struct rig *r = *state;
	atomic_bool stop = false;

	rig_start(r, NULL);
	like.rm = open_session(r->server);
	like.word = allocate(like.rm, 16);
	like.stop = &stop;
	start_adders(adders, &like, add);
	for (unsigned kill = 0; kill < KILLS; kill++) {
		uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
		uint64_t before = added(adders);

		while (added(adders) < before + 200) {
			assert_true(clock_boot_ns() < until_ns);
			sched_yield();
		}
		rig_kill(r);
		rig_start(r, NULL);
	}
	atomic_store(&stop, true);
	join_adders(adders);
	sum = added(adders);
	for (unsigned i = 0; i < ADDERS; i++) {
		unknown += adders[i].unknown;
		refused += adders[i].refused;
	}
	value = read_word(like.rm, like.word);
	printf("%" PRIu64 " added, %" PRIu64 " unknown, %" PRIu64 " refused: the word is %" PRIu64
	       "\n",
		sum, unknown, refused, value);
	assert_true(value >= sum);
	assert_true(value <= sum + unknown);
	succeed(rmem_free(like.rm, like.word));
	succeed(rmem_close(like.rm));
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_shapes),
		RIG_TEST(test_ways),
		RIG_TEST(test_wrong_buffers),
		RIG_TEST(test_locked_memory_limit),
		RIG_TEST(test_fork),
		RIG_TEST(test_buffers_survive_a_kill),
		RIG_TEST(test_buffers_survive_a_resume),
		RIG_TEST(test_threads),
		RIG_TEST(test_atomics),
		RIG_TEST(test_atomics_of_threads),
		RIG_TEST(test_atomics_and_kills),
	};

	if (argc == 3 && strcmp(argv[1], "sleeper") == 0)
		return be_sleeper(argv[2]);
	if (argc == 3 && strcmp(argv[1], "frugal") == 0)
		return be_frugal(argv[2]);
	return rig_main(RIG_PORT_DATA, tests, sizeof(tests) / sizeof(tests[0]));
}
