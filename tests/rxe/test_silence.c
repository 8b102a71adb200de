/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Others that say nothing. A name server: rmem_open() has a limit, and nobody asks again, so that a session stays
 * with its server. The device: a connection on which nothing completes any more is given up, whoever waits
 * for it, and however.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "common/clock.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/rig.h"
#include "tests/rxe/snags.h"

#define TIMEOUT_MS 6000
#define SLACK_MS 20000
#define SILENCE_LIMIT_NS (60 * NSEC_PER_SEC) /* 15 s and coming back, on a slow machine */

/* ---- names ---- */

struct opening {
	pthread_t thread;
	char server[80];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	int rc;
	char errinfo[300];
};

static void *open_in_thread(void *arg)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct opening *o = arg;
	struct rmem *rm;
	int rc;

	attr.timeout_ms = TIMEOUT_MS;
	rc = rmem_open(o->server, &attr, &rm);
	pthread_mutex_lock(&o->lock);
	o->rc = rc;
	snprintf(o->errinfo, sizeof(o->errinfo), "%s", rmem_errmsg());
	o->done = true;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

static void name_server(const struct rig *r, char out[80])
{
	snprintf(out, 80, "rmemd.snag:%u", r->port);
}

static void test_silent_name_server(void **state)
{
	struct opening o = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER };
	struct timespec until;
	bool in_time;

	name_server(*state, o.server);
	snag_names(true);
	assert_int_equal(pthread_create(&o.thread, NULL, open_in_thread, &o), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (TIMEOUT_MS + SLACK_MS) / 1000;
	pthread_mutex_lock(&o.lock);
	while (!o.done && pthread_cond_timedwait(&o.changed, &o.lock, &until) == 0)
		;
	in_time = o.done;
	pthread_mutex_unlock(&o.lock);
	snag_names(false);
	pthread_join(o.thread, NULL);
	assert_true(in_time);
	assert_int_equal(o.rc, -ETIMEDOUT);
	assert_non_null(strstr(o.errinfo, "rmemd.snag"));
	assert_true(snag_names_asked() > 0);
}

static void test_name_is_asked_for_once(void **state)
{
	unsigned before = snag_names_asked();
	struct rmem_completion done;
	struct rig *r = *state;
	char server[80], byte = 'x';
	struct rmem_queue *q;
	rmem_addr_t addr;
	struct rmem *rm;

	name_server(r, server);
	rig_start(r, NULL);
	snag_set_address(rig_host());
	rm = lib_open(server, 0);
	/* Whoever asks now gets to another machine. */
	snag_set_address("192.0.2.1");
	addr = lib_alloc(rm, 100);
	lib_succeed(rmem_write(rm, addr, &byte, 1));
	q = lib_queue(rm, 4);
	rig_kill(r);
	rig_start(r, NULL);
	lib_succeed(rmem_start_write(q, addr, &byte, 1, 1));
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	lib_succeed(done.status);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	assert_int_equal(snag_names_asked() - before, 1);
	rig_stop(r, false);
}

/* ---- completions ---- */

struct waiter {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t addr;
	struct rmem_queue *q;
	int fd;
	char failure[300];
};

static pthread_barrier_t barrier;

static void note_failure(struct waiter *w, const char *what, int rc)
{
	snprintf(w->failure, sizeof(w->failure), "%s: %d %.200s", what, rc, rmem_errmsg());
}

/* Start one, and take it in by looking from time to time. */
static void wait_in_parts(struct waiter *w, bool by_descriptor)
{
	uint64_t until = clock_boot_ns() + SILENCE_LIMIT_NS, word = 77;
	struct pollfd fd = { .fd = w->fd, .events = POLLIN };
	struct rmem_completion done = { .status = 1 };
	int n = rmem_start_write(w->q, w->addr, &word, sizeof(word), 1);

	if (n == 0)
		n = rmem_submit(w->q);
	while (n == 0 && clock_boot_ns() < until) {
		if (by_descriptor)
			(void)poll(&fd, 1, (int)(SILENCE_LIMIT_NS / NSEC_PER_MSEC));
		n = rmem_reap(w->q, &done, 1, by_descriptor ? 0 : 500);
	}
	if (n != 1 || done.status)
		note_failure(w, by_descriptor ? "descriptor" : "parts", n == 1 ? done.status : n);
}

static void *reap_in_parts(void *arg)
{
	pthread_barrier_wait(&barrier);
	wait_in_parts(arg, false);
	return NULL;
}

static void *reap_by_descriptor(void *arg)
{
	pthread_barrier_wait(&barrier);
	wait_in_parts(arg, true);
	return NULL;
}

static void *add(void *arg)
{
	struct waiter *w = arg;
	uint64_t began, old = 0;
	int rc = rmem_fetch_add(w->rm, w->addr, 1, &old);

	if (rc)
		note_failure(w, "the first rmem_fetch_add", rc);
	pthread_barrier_wait(&barrier); /* all are ready */
	pthread_barrier_wait(&barrier); /* and now it is silent */
	began = clock_boot_ns();
	rc = rmem_fetch_add(w->rm, w->addr, 1, &old);
	if (rc != -EREMOTEIO || clock_boot_ns() > began + SILENCE_LIMIT_NS)
		note_failure(w, "rmem_fetch_add", rc);
	return NULL;
}

static void test_silent_device(void **state)
{
	void *(*const mains[3])(void *) = { reap_in_parts, reap_by_descriptor, add };
	struct waiter w[3] = { 0 };
	struct rmem_completion done;
	struct rig *r = *state;
	uint64_t word = 1;

	rig_start(r, (const char *const[]){ "--size", "64M", "--ttl", "10m", NULL });
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 3; i++) {
		w[i].rm = lib_open(r->server, 0);
		w[i].addr = lib_alloc(w[i].rm, 64);
		w[i].q = lib_queue(w[i].rm, 4);
		w[i].fd = i == 1 ? rmem_queue_fd(w[i].q) : -1;
		lib_succeed(rmem_start_write(w[i].q, w[i].addr, &word, sizeof(word), 1));
		assert_int_equal(rmem_reap(w[i].q, &done, 1, -1), 1);
	}
	assert_int_equal(pthread_create(&w[2].thread, NULL, mains[2], &w[2]), 0);
	pthread_barrier_wait(&barrier);
	snag_completions();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&w[i].thread, NULL, mains[i], &w[i]), 0);
		pthread_barrier_wait(&barrier);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(w[i].thread, NULL);
	assert_true(snag_completions_kept() > 0);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(w[i].failure, "");
		lib_succeed(rmem_free(w[i].rm, w[i].addr));
		lib_succeed(rmem_close(w[i].rm));
	}
	rig_stop(r, false);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void set_alarms(int ms)
{
	const struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	const struct itimerval every = { { 0, ms * 1000 }, { 0, ms * 1000 } };

	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static struct rmem_queue *interruptible_queue(struct rmem *rm)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *q;

	attr.flags = RMEM_QUEUE_INTERRUPTIBLE;
	lib_succeed(rmem_queue_create(rm, &attr, &q));
	return q;
}

/*
 * Nothing completes: a signal ends the wait if that is wanted. One operation has a time, which breaks the connection, also
 * while signals come all the time: the one that is sent once may have been carried out, the other is repeated.
 */
static void test_signal_and_time(void **state)
{
	uint64_t word = 7, began;
	const struct iovec here = { &word, sizeof(word) };
	struct rmem_op op = RMEM_OP_INIT;
	struct rmem_completion done;
	struct rmem_iovec there;
	struct rig *r = *state;
	struct rmem_queue *q;
	struct rmem *rm;
	int rc;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	q = interruptible_queue(rm);
	there = (struct rmem_iovec){ lib_alloc(rm, 64), sizeof(word) };
	lib_succeed(rmem_start_write(q, there.base, &word, sizeof(word), 0));
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	op.kind = RMEM_OP_WRITE;
	op.local = &here;
	op.remote = &there;
	op.nlocal = op.nremote = 1;
	op.tag = 1;
	op.timeout_ms = 1000;
	snag_completions();
	began = clock_boot_ns();
	lib_succeed(rmem_start(q, &op));
	op.flags = RMEM_OP_ONCE;
	op.timeout_ms = 0;
	op.tag = 2;
	lib_succeed(rmem_start(q, &op));
	lib_succeed(rmem_start_write(q, there.base + 8, &word, sizeof(word), 3));
	set_alarms(20);
	lib_expect(rmem_reap(q, &done, 1, -1), -EINTR, "signal");
	do
		rc = rmem_reap(q, &done, 1, -1);
	while (rc == -EINTR);
	set_alarms(0);
	assert_int_equal(rc, 1);
	assert_int_equal(done.tag, 1);
	assert_int_equal(done.status, -ETIMEDOUT);
	assert_in_range(clock_boot_ns() - began, NSEC_PER_SEC, 9 * NSEC_PER_SEC);
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.tag, 2);
	assert_int_equal(done.status, -EREMOTEIO);
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.tag, 3);
	lib_succeed(done.status);
	assert_int_equal(lib_read_word(rm, there.base + 8), word);
	lib_succeed(rmem_free(rm, there.base));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* A first touch waits for what is on its way, and no signal ends that, or is taken for a broken connection. */
static void test_signal_at_first_touch(void **state)
{
	uint64_t word = 7;
	struct rmem_completion done;
	struct rig *r = *state;
	struct rmem_queue *q;
	rmem_addr_t touched, other;
	struct rmem *rm;
	int rc;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	q = interruptible_queue(rm);
	touched = lib_alloc(rm, 64);
	other = lib_alloc(rm, 64);
	lib_succeed(rmem_start_write(q, touched, &word, sizeof(word), 0));
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	snag_completions();
	lib_succeed(rmem_start_write(q, touched, &word, sizeof(word), 1));
	lib_succeed(rmem_submit(q));
	set_alarms(20);
	rc = rmem_start_write(q, other, &word, sizeof(word), 2);
	set_alarms(0);
	lib_succeed(rc);
	for (uint64_t tag = 1; tag <= 2; tag++) {
		assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
		assert_int_equal(done.tag, tag);
		lib_succeed(done.status);
	}
	lib_succeed(rmem_free(rm, touched));
	lib_succeed(rmem_free(rm, other));
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

/* ---- freed slots ---- */

#define OBJECT_BYTES 2048
#define OBJECTS_MAX 512

static bool has_resumed(const json_t *status, void *arg)
{
	(void)arg;
	return rig_number(status, "counters.resumes") > 0;
}

/* Start a write on a channel that goes silent, and let its time be over. Nothing is started there afterwards. */
static void give_up_write(struct rmem_queue *q, rmem_addr_t addr, unsigned before)
{
	uint64_t word = 7;
	const struct iovec here = { &word, sizeof(word) };
	const struct rmem_iovec there = { addr, sizeof(word) };
	struct rmem_op op = RMEM_OP_INIT;
	struct rmem_completion done;

	lib_succeed(rmem_start_write(q, addr, &word, sizeof(word), 0));
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_true(snag_queues() > before);
	snag_completions_after(before);
	op.kind = RMEM_OP_WRITE;
	op.local = &here;
	op.remote = &there;
	op.nlocal = op.nremote = 1;
	op.timeout_ms = 500;
	lib_succeed(rmem_start(q, &op));
	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.status, -ETIMEDOUT);
}

/* Allocate until one is at addr, or there are n: how many there are then. */
static size_t alloc_until(struct rmem *rm, rmem_addr_t addr, rmem_addr_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = lib_alloc_object(rm, OBJECT_BYTES);
		if (out[i] == addr)
			return i + 1;
	}
	return n;
}

/*
 * A write to an object was given up, and may still arrive. The object's slot is used again when the server has ended the
 * channel, and that comes to pass although nobody uses the channel any more.
 */
static void test_slot_after_given_up_write(void **state)
{
	rmem_addr_t others[OBJECTS_MAX], addr;
	struct rig *r = *state;
	struct rmem_queue *q;
	unsigned before;
	struct rmem *rm;
	size_t n, all;

	rig_start(r, (const char *const[]){ "--ttl", "9s", NULL });
	rm = lib_open(r->server, 0);
	addr = lib_alloc_object(rm, OBJECT_BYTES);
	before = snag_queues();
	q = lib_queue(rm, 4);
	give_up_write(q, addr, before);
	lib_succeed(rmem_free(rm, addr));
	n = alloc_until(rm, addr, others, OBJECTS_MAX / 4);
	if (rig_ask_number(r, "status", "counters.resumes") == 0)
		assert_true(others[n - 1] != addr);
	json_decref(rig_await(r, "status", has_resumed, NULL, "the session has come back"));
	all = n + alloc_until(rm, addr, others + n, OBJECTS_MAX - n);
	assert_true(others[all - 1] == addr);
	lib_succeed(rmem_free_many(rm, others, all));
	rmem_queue_destroy(q);
	lib_succeed(rmem_close(rm));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_silent_name_server),
		RIG_TEST(test_name_is_asked_for_once),
		RIG_TEST(test_signal_and_time),
		RIG_TEST(test_signal_at_first_touch),
		RIG_TEST(test_silent_device),
		RIG_TEST(test_slot_after_given_up_write),
	};

	return rig_main(RIG_PORT_SILENCE, tests, sizeof(tests) / sizeof(tests[0]));
}
