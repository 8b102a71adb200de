/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations described by a struct: every kind, each flag, a time of their own; and one descriptor for many queues. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/desk.h"

#define TIME_MS 500
#define LATE_NS (6 * NSEC_PER_SEC) /* of which a session has 20 to come back in */
#define DEPTH 8
#define SILENT 1000UL
#define QUEUES 3

static struct rmem_op op_of(uint32_t kind, uint32_t flags, uint64_t tag)
{
	struct rmem_op op = RMEM_OP_INIT;

	op.kind = kind;
	op.flags = flags;
	op.tag = tag;
	return op;
}

/* A copy of one piece, whose lists are gone when it has been started. */
static int start_copy(
	struct rmem_queue *q, struct rmem_op op, void *local, rmem_addr_t remote, size_t bytes)
{
	const struct iovec here = { local, bytes };
	const struct rmem_iovec there = { remote, bytes };

	op.local = &here;
	op.remote = &there;
	op.nlocal = op.nremote = 1;
	return rmem_start(q, &op);
}

static struct rmem_completion reap(struct rmem_queue *q)
{
	struct rmem_completion done;

	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	return done;
}

/* ---- kinds ---- */

static void check_waiting(struct desk *d)
{
	uint64_t words[2] = { 5, 6 }, got[2] = { 0 }, old = 0;
	const struct iovec from[2] = { { words, 8 }, { words + 1, 8 } }, to = { got, 16 };
	const struct rmem_iovec there = { d->addr, 16 };
	struct rmem_op op = op_of(RMEM_OP_WRITE, RMEM_OP_ONCE, 0);

	op.local = from;
	op.nlocal = 2;
	op.remote = &there;
	op.nremote = 1;
	op.timeout_ms = RIG_LIMIT_MS;
	lib_succeed(rmem_run(d->rm, &op));
	op = op_of(RMEM_OP_FETCH_ADD, 0, 0);
	op.addr = d->addr;
	op.operand = 10;
	op.old = &old;
	lib_succeed(rmem_run(d->rm, &op));
	assert_int_equal(old, 5);
	op = op_of(RMEM_OP_COMPARE_SWAP, 0, 0);
	op.addr = d->addr + 8;
	op.operand = 6;
	op.desired = 60;
	lib_succeed(rmem_run(d->rm, &op));
	op = op_of(RMEM_OP_READ, 0, 0);
	op.local = &to;
	op.remote = &there;
	op.nlocal = op.nremote = 1;
	lib_succeed(rmem_run(d->rm, &op));
	assert_int_equal(got[0], 15);
	assert_int_equal(got[1], 60);
}

static void check_started(struct desk *d)
{
	struct rmem_op op = op_of(RMEM_OP_FETCH_ADD, 0, 2);
	uint64_t *word = (void *)d->bytes, old = 0;

	*word = 100;
	lib_succeed(start_copy(d->q, op_of(RMEM_OP_WRITE, 0, 1), word, d->addr, 8));
	op.addr = d->addr;
	op.operand = 1;
	op.old = &old;
	lib_succeed(rmem_start(d->q, &op));
	lib_succeed(start_copy(
		d->q, op_of(RMEM_OP_READ, RMEM_OP_FENCED | RMEM_OP_ONCE, 3), word + 1, d->addr, 8));
	desk_reap_in_order(d->q, 1, 3, 1);
	assert_int_equal(old, 100);
	assert_int_equal(word[1], 101); /* behind the fence */
}

static void check_wrong(struct desk *d)
{
	struct {
		struct rmem_op op;
		uint64_t more;
	} newer = { op_of(RMEM_OP_READ, 0, 0), 0 };
	struct rmem_op op = op_of(0, 0, 0);

	lib_expect(rmem_start(d->q, NULL), -EINVAL, "NULL");
	lib_expect(rmem_start(d->q, &op), -EINVAL, "kind");
	lib_expect(rmem_run(d->rm, &op), -EINVAL, "kind");
	op.kind = RMEM_OP_COMPARE_SWAP + 1;
	lib_expect(rmem_start(d->q, &op), -EINVAL, "kind");
	op = op_of(RMEM_OP_READ, 8, 0);
	lib_expect(rmem_start(d->q, &op), -EINVAL, "flag");
	op = op_of(RMEM_OP_READ, RMEM_OP_SILENT, 0);
	lib_expect(rmem_run(d->rm, &op), -EINVAL, "queues");
	op = op_of(RMEM_OP_READ, 0, 0);
	op.timeout_ms = -1;
	lib_expect(rmem_start(d->q, &op), -EINVAL, "timeout_ms");
	op = op_of(RMEM_OP_FETCH_ADD, 0, 0);
	op.addr = d->addr + 4;
	lib_expect(rmem_start(d->q, &op), -EINVAL, "atomic");
	lib_expect(start_copy(d->q, op_of(RMEM_OP_READ, 0, 0), d->bytes, d->addr + DESK_BLOCK, 1),
		-EFAULT, "");
	op.size--;
	lib_expect(rmem_start(d->q, &op), -EINVAL, "");
	newer.op.size = sizeof(newer);
	lib_succeed(rmem_start(d->q, &newer.op)); /* of no bytes */
	assert_int_equal(reap(d->q).result, 0);
	newer.more = 1;
	lib_expect(rmem_start(d->q, &newer.op), -E2BIG, "");
}

static void test_kinds(void **state)
{
	struct desk d;

	desk_create(&d, *state, DEPTH);
	check_waiting(&d);
	check_started(&d);
	check_wrong(&d);
	desk_destroy(&d);
}

/* ---- flags ---- */

/* They never fill the queue, and what is asked of the rest comes alone. */
static void test_silent(void **state)
{
	struct rmem_completion done;
	uint64_t words[SILENT];
	struct desk d;

	desk_create(&d, *state, DEPTH);
	for (uint64_t i = 0; i < SILENT; i++) {
		int rc;

		words[i] = i + 1;
		while ((rc = start_copy(d.q, op_of(RMEM_OP_WRITE, RMEM_OP_SILENT, i), &words[i],
				d.addr + i * 8, 8)) == -EAGAIN)
			;
		lib_succeed(rc);
	}
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0); /* all are done, and none tells */
	lib_succeed(start_copy(d.q, op_of(RMEM_OP_WRITE, RMEM_OP_SILENT, 1), words, d.addr, 8));
	lib_succeed(rmem_start_read(d.q, d.bytes, d.addr, SILENT * 8, 2));
	lib_succeed(start_copy(d.q, op_of(RMEM_OP_WRITE, RMEM_OP_SILENT, 3), words, d.addr, 8));
	desk_reap_in_order(d.q, 2, 1, 1);
	assert_memory_equal(d.bytes, words, sizeof(words));
	assert_int_equal(rmem_reap(d.q, &done, 1, -1), 0);
	desk_destroy(&d);
}

/* ---- time ---- */

/* A session that tries to come back for long. */
static void open_patient(struct desk *d, struct rig *r)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;

	rig_start(r, (const char *const[]){ "--ttl", "10m", NULL });
	d->rig = r;
	attr.timeout_ms = 20000;
	lib_succeed(rmem_open(r->server, &attr, &d->rm));
	d->addr = lib_alloc(d->rm, DESK_BLOCK);
	d->bytes = lib_buffer(d->rm, DESK_BLOCK);
	d->q = lib_queue(d->rm, DEPTH);
	lib_succeed(rmem_start_write(d->q, d->addr, "before", 7, 0));
	desk_reap_in_order(d->q, 0, 1, 1);
	lib_succeed(rmem_write(d->rm, d->addr, "before", 7));
}

static void check_in_time(uint64_t began_ns, int status)
{
	const uint64_t took = clock_boot_ns() - began_ns;

	assert_int_equal(status, -ETIMEDOUT);
	assert_in_range(took, TIME_MS * NSEC_PER_MSEC, LATE_NS);
}

/* While the server is away they fail in their time, wherever they wait for it; the session is back afterwards. */
static void test_time(void **state)
{
	struct rmem_op hasty = op_of(RMEM_OP_WRITE, RMEM_OP_SILENT, 1);
	struct rmem_op waiting = op_of(RMEM_OP_FETCH_ADD, 0, 0);
	struct rmem_completion done;
	uint64_t began;
	struct desk d;
	int rc;

	open_patient(&d, *state);
	hasty.timeout_ms = waiting.timeout_ms = TIME_MS;
	waiting.addr = d.addr + 64;
	waiting.operand = 1;
	rig_kill(d.rig);
	began = clock_boot_ns();
	rc = start_copy(d.q, hasty, d.bytes, d.addr, 8);
	if (rc == 0) { /* the break had not been seen yet; it fails, so it is not silent */
		done = reap(d.q);
		assert_int_equal(done.tag, 1);
		assert_non_null(strstr(rmem_completion_errmsg(d.q, &done), "time"));
		rc = done.status;
	}
	check_in_time(began, rc);
	began = clock_boot_ns();
	rc = rmem_run(d.rm, &waiting);
	if (rc != -EREMOTEIO) /* it had been posted before the break was seen */
		check_in_time(began, rc);
	rig_start(d.rig, NULL);
	lib_succeed(rmem_start_write(d.q, d.addr, "after", 6, 2));
	desk_reap_in_order(d.q, 2, 1, 1);
	waiting.timeout_ms = RIG_LIMIT_MS;
	lib_succeed(rmem_run(d.rm, &waiting));
	lib_succeed(rmem_read(d.rm, d.bytes, d.addr, 6));
	assert_string_equal((char *)d.bytes, "after");
	desk_destroy(&d);
}

static int run_copy(struct rmem *rm, uint32_t kind, int timeout_ms, void *local, rmem_addr_t remote)
{
	const struct iovec here = { local, 8 };
	const struct rmem_iovec there = { remote, 8 };
	struct rmem_op op = op_of(kind, 0, 0);

	op.local = &here;
	op.remote = &there;
	op.nlocal = op.nremote = 1;
	op.timeout_ms = timeout_ms;
	return rmem_run(rm, &op);
}

/* The time of an operation that has completed is over for others, too: they have none. */
static void test_time_is_its_own(void **state)
{
	struct rmem_op timed = op_of(RMEM_OP_WRITE, 0, 1);
	uint64_t word = 5;
	struct desk d;

	open_patient(&d, *state);
	lib_succeed(run_copy(d.rm, RMEM_OP_WRITE, TIME_MS, &word, d.addr));
	timed.timeout_ms = TIME_MS;
	lib_succeed(start_copy(d.q, timed, d.bytes, d.addr + 8, 8));
	desk_reap_in_order(d.q, 1, 1, 1);
	rig_elapse(TIME_MS);
	rig_kill(d.rig);
	rig_start(d.rig, NULL);
	assert_int_equal(lib_read_word(d.rm, d.addr), 5);
	lib_succeed(rmem_start_read(d.q, d.bytes, d.addr, 8, 2));
	desk_reap_in_order(d.q, 2, 1, 1);
	desk_destroy(&d);
}

struct newcomer {
	struct desk *desk;
	uint64_t began_ns, ended_ns;
	int rc;
};

/* A thread's first operation needs a connection first. */
static void *run_first(void *arg)
{
	struct newcomer *n = arg;
	uint64_t word;

	n->began_ns = clock_boot_ns();
	n->rc = run_copy(n->desk->rm, RMEM_OP_READ, TIME_MS, &word, n->desk->addr);
	n->ended_ns = clock_boot_ns();
	return NULL;
}

static void test_time_of_first(void **state)
{
	struct newcomer n;
	pthread_t thread;
	struct desk d;

	open_patient(&d, *state);
	rig_kill(d.rig);
	n.desk = &d;
	assert_int_equal(pthread_create(&thread, NULL, run_first, &n), 0);
	pthread_join(thread, NULL);
	assert_int_equal(n.rc, -ETIMEDOUT);
	assert_in_range(n.ended_ns - n.began_ns, TIME_MS * NSEC_PER_MSEC, LATE_NS);
	rig_start(d.rig, NULL);
	desk_destroy(&d);
}

/* A look that takes in only what is silent is followed by another: nothing else tells of what has come since. */
static void test_silent_and_descriptor(void **state)
{
	struct rmem_completion done;
	struct pollfd fd = { .events = POLLIN };
	uint64_t longest_ns = 0;
	struct desk d;

	desk_create(&d, *state, 64);
	fd.fd = rmem_queue_fd(d.q);
	for (int round = 0; round < 20; round++) {
		int got = 0;

		lib_succeed(start_copy(
			d.q, op_of(RMEM_OP_WRITE, RMEM_OP_SILENT, 1), d.bytes, d.addr, 8));
		lib_succeed(rmem_submit(d.q));
		rig_elapse(2);
		for (uint64_t i = 0; i < 8; i++)
			lib_succeed(rmem_start_read(d.q, d.bytes, d.addr, DESK_BLOCK, i));
		lib_succeed(rmem_submit(d.q));
		while (got < 8) {
			const uint64_t began = clock_boot_ns();
			int n;

			while ((n = rmem_reap(d.q, &done, 1, 0)) > 0)
				got += n;
			if (got < 8)
				assert_int_equal(poll(&fd, 1, RIG_LIMIT_MS), 1);
			if (clock_boot_ns() - began > longest_ns)
				longest_ns = clock_boot_ns() - began;
		}
	}
	assert_in_range(longest_ns, 0, 4 * NSEC_PER_SEC); /* not the 5 s timer */
	desk_destroy(&d);
}

/* ---- many queues ---- */

/* Reap what is said to be ready. Nothing completes but what was started on this queue; any may be ready in vain. */
static bool take_ready(struct rmem *rm, const struct rmem_queue *wanted, uint64_t tag)
{
	struct rmem_queue *ready[QUEUES];
	struct rmem_completion done;
	bool found = false;
	int n = rmem_queues_ready(rm, ready, QUEUES);

	assert_in_range(n, 0, QUEUES);
	for (int i = 0; i < n; i++)
		while (rmem_reap(ready[i], &done, 1, 0) > 0) {
			assert_ptr_equal(ready[i], wanted);
			assert_int_equal(done.tag, tag);
			lib_succeed(done.status);
			found = true;
		}
	return found;
}

static void write_one(struct desk *d, struct rmem_queue *q, uint64_t tag)
{
	struct pollfd fd = { .fd = rmem_queues_fd(d->rm), .events = POLLIN };

	lib_succeed(rmem_start_write(q, d->addr, d->bytes, 8, tag));
	lib_succeed(rmem_submit(q));
	do {
		assert_int_equal(poll(&fd, 1, RIG_LIMIT_MS), 1);
	} while (!take_ready(d->rm, q, tag));
}

static void test_watched(void **state)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *queues[QUEUES];
	struct desk d;

	desk_create(&d, *state, DEPTH); /* d.q is not watched */
	attr.flags = RMEM_QUEUE_WATCHED;
	for (unsigned i = 0; i < QUEUES; i++)
		lib_succeed(rmem_queue_create(d.rm, &attr, &queues[i]));
	assert_int_equal(rmem_queues_ready(d.rm, queues, QUEUES), 0);
	lib_expect(rmem_queues_ready(d.rm, queues, 0), -EINVAL, "room");
	for (uint64_t i = 0; i < 2 * QUEUES; i++)
		write_one(&d, queues[i % QUEUES], i);
	rmem_queue_destroy(queues[0]);
	write_one(&d, queues[1], 1);
	attr.flags = 4;
	lib_expect(rmem_queue_create(d.rm, &attr, &queues[0]), -EINVAL, "flag");
	desk_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_kinds),
		RIG_TEST(test_silent),
		RIG_TEST(test_time),
		RIG_TEST(test_time_is_its_own),
		RIG_TEST(test_time_of_first),
		RIG_TEST(test_silent_and_descriptor),
		RIG_TEST(test_watched),
	};

	return rig_main(RIG_PORT_OPS, tests, sizeof(tests) / sizeof(tests[0]));
}
