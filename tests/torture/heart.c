/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/heart.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define PERIOD (10 * MS)
#define LATE (2 * PERIOD) /* a beat that comes later was kept from coming */
#define BEATS 32768U      /* some five minutes */
#define HUNG (30000 * MS) /* beyond the bound: the call does not return any more */
#define THREADS 16

/* When each beat was, and how much was missing until then. Written by the heart only. */
static struct beat {
	_Atomic int64_t at, missing;
} beats[BEATS];
static _Atomic uint64_t nbeats;
static int64_t slack;

/* The call that each thread is in. */
static struct watched {
	_Atomic int64_t begin; /* 0: none */
	struct heart_call call;
	pthread_t thread;
	_Atomic bool used;
} watched[THREADS];
static _Thread_local struct watched *mine;

int64_t heart_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

void heart_pause(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * MS };

	nanosleep(&t, NULL);
}

/* The number of the last beat before a moment, as far as is remembered. */
static uint64_t beat_before(int64_t ns)
{
	uint64_t n = atomic_load(&nbeats), i = n - 1;

	while (i > 0 && n - i < BEATS - 2 && atomic_load(&beats[i % BEATS].at) > ns)
		i--;
	return i;
}

static int64_t missing_at(uint64_t number)
{
	return atomic_load(&beats[number % BEATS].missing);
}

/* What was missing between two moments: from the last beat before the one to the first after the other. */
static int64_t excuse(int64_t begin, int64_t end)
{
	while (atomic_load(&beats[(atomic_load(&nbeats) - 1) % BEATS].at) <= end)
		heart_pause(5);
	return missing_at(beat_before(end) + 1) - missing_at(beat_before(begin));
}

static void enlist(void)
{
	for (int i = 0; i < THREADS && !mine; i++)
		if (!atomic_exchange(&watched[i].used, true))
			mine = &watched[i];
	if (mine)
		mine->thread = pthread_self();
}

void heart_retire(void)
{
	if (mine)
		atomic_store(&mine->used, false);
	mine = NULL;
}

void heart_begin(struct heart_call *c, enum board_call call, int64_t bound_ms)
{
	if (!mine)
		enlist();
	c->call = call;
	c->bound_ns = bound_ms * MS + slack;
	c->begin = heart_now();
	if (mine) {
		mine->call = *c;
		atomic_store(&mine->begin, c->begin);
	}
}

void heart_end(struct heart_call *c, int rc)
{
	int64_t end = heart_now(), took = end - c->begin, excused = 0;

	if (mine)
		atomic_store(&mine->begin, 0);
	board_result(c->call, rc);
	if (took > 200 * MS) {
		excused = excuse(c->begin, end);
		excused = excused < took ? excused : took;
		board_event(EVENT_EXCUSED_MS, (uint64_t)(excused / MS));
		took -= excused;
	}
	board_longest(c->call, (uint64_t)(took / MS));
	if (took > c->bound_ns)
		board_complain(EVENT_OVER, 1, 0, 0,
			"OVER: %s took %lld ms (and %lld in which the process did not run), its "
			"bound is %lld; it returned %d",
			board_call_name(c->call), took / MS, excused / MS, c->bound_ns / MS, rc);
}

static void tell_where(int signo)
{
	void *frames[32];

	(void)signo;
	backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
}

static void find_hung(int64_t now)
{
	for (int i = 0; i < THREADS; i++) {
		struct watched *w = &watched[i];
		int64_t begin = atomic_load(&w->begin), spent;

		if (!begin || now - begin < w->call.bound_ns + HUNG)
			continue;
		spent = now - begin - (missing_at(nbeats - 1) - missing_at(beat_before(begin)));
		if (spent < w->call.bound_ns + HUNG || begin != atomic_load(&w->begin))
			continue;
		board_complain(EVENT_OVER, 1, 0, 0,
			"OVER: %s has not returned for %lld ms, its bound is %lld",
			board_call_name(w->call.call), spent / MS, w->call.bound_ns / MS);
		pthread_kill(w->thread, SIGUSR1);
		heart_pause(500);
		_exit(3);
	}
}

static void *beat(void *unused)
{
	int64_t last = heart_now(), missing = 0;

	(void)unused;
	for (uint64_t n = 1;; n++) {
		int64_t now;

		heart_pause(PERIOD / MS);
		now = heart_now();
		if (now - last > LATE)
			missing += now - last - PERIOD;
		last = now;
		atomic_store(&beats[n % BEATS].missing, missing);
		atomic_store(&beats[n % BEATS].at, now);
		atomic_store(&nbeats, n + 1);
		if (n % 64 == 0)
			find_hung(now);
	}
	return NULL;
}

int heart_start(int slack_ms)
{
	struct sigaction where = { .sa_handler = tell_where };
	pthread_t thread;
	void *frame;

	slack = slack_ms * MS;
	backtrace(&frame, 1); /* loads what it needs now, and not in the handler */
	sigaction(SIGUSR1, &where, NULL);
	atomic_store(&beats[0].at, heart_now());
	atomic_store(&nbeats, 1);
	return -pthread_create(&thread, NULL, beat, NULL);
}
