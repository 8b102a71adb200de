/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/log_relay.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/thread.h"

#define LINES 64
#define TEXT_SIZE 1000

struct line {
	atomic_bool ready; /* it is the relay's until it is not */
	enum log_level level;
	char text[TEXT_SIZE];
};

/* Written to by any thread that logs, read by the relay. */
struct ring {
	_Atomic uint64_t written, taken; /* taken <= written <= taken + LINES */
	atomic_uint lost;                /* since one last got in */
	sem_t ready;
	struct line lines[LINES];
};

static struct ring ring;

/* Under the lock, which is nobody's while fn runs. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static log_relay_fn *function;
static void *function_arg;
static uint64_t function_from; /* the first line that is for it */
static uint64_t begun, done;   /* lines that fn was, or would have been, called for */
static bool running;           /* the thread */
static pthread_t thread;

/* The thread that logs. */
static void tap(enum log_level level, const char *text)
{
	struct ring *r = &ring;
	uint64_t at = atomic_load(&r->written);
	struct line *line;

	do {
		if (at - atomic_load(&r->taken) >= LINES) {
			atomic_fetch_add(&r->lost, 1);
			return;
		}
	} while (!atomic_compare_exchange_weak(&r->written, &at, at + 1));
	line = &r->lines[at % LINES];
	line->level = level;
	snprintf(line->text, sizeof(line->text), "%s", text);
	atomic_store(&line->ready, true);
	(void)sem_post(&r->ready);
}

static void call(uint64_t number, enum log_level level, const char *text)
{
	log_relay_fn *fn;
	void *arg;

	pthread_mutex_lock(&lock);
	fn = number >= function_from ? function : NULL;
	arg = function_arg;
	pthread_mutex_unlock(&lock);
	if (fn)
		fn(arg, level, text);
}

/* The next line, and whether there was one. Lines are taken in the order of their places. */
static bool relay(struct ring *r)
{
	const uint64_t number = atomic_load(&r->taken);
	struct line *line = &r->lines[number % LINES];
	char text[TEXT_SIZE];
	enum log_level level;
	unsigned lost;

	if (!atomic_load(&line->ready))
		return false;
	level = line->level;
	memcpy(text, line->text, sizeof(text));
	atomic_store(&line->ready, false);
	pthread_mutex_lock(&lock);
	begun++;
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&r->taken, 1);
	call(number, level, text);
	lost = atomic_exchange(&r->lost, 0);
	if (lost) {
		snprintf(text, sizeof(text), "%u line%s lost here: this function was slow", lost,
			lost == 1 ? "" : "s");
		call(number, LOG_LEVEL_WARN, text);
	}
	pthread_mutex_lock(&lock);
	done++;
	pthread_cond_broadcast(&progress);
	pthread_mutex_unlock(&lock);
	return true;
}

/* There is no function any more, and no line that one might have waited for: so there is no thread either. */
static bool is_over(struct ring *r)
{
	bool over;

	pthread_mutex_lock(&lock);
	over = !function && atomic_load(&r->taken) == atomic_load(&r->written);
	if (over) {
		running = false;
		pthread_detach(pthread_self());
	}
	pthread_mutex_unlock(&lock);
	return over;
}

static void *run(void *arg)
{
	struct ring *r = arg;

	do {
		while (sem_wait(&r->ready))
			;
		while (relay(r))
			;
	} while (!is_over(r));
	return NULL;
}

/* With the lock. */
static int start(struct errinfo *errinfo)
{
	static bool prepared;
	int rc;

	if (running)
		return 0;
	if (!prepared)
		sem_init(&ring.ready, 0, 0);
	prepared = true;
	rc = thread_start(&thread, "rmem-log", run, &ring, errinfo);
	running = rc == 0;
	return rc;
}

/* With the lock, which is given up meanwhile: until the function was called for so many lines. */
static int wait_for(uint64_t lines, uint64_t deadline_ns, struct errinfo *errinfo)
{
	while (done < lines) {
		const uint64_t now = clock_boot_ns(),
			       left = deadline_ns > now ? deadline_ns - now : 0;
		struct timespec until;

		if (!left)
			return errinfo_set(errinfo, -ETIMEDOUT,
				"the function that got the log has not returned");
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += (time_t)((left + (uint64_t)until.tv_nsec) / NSEC_PER_SEC);
		until.tv_nsec = (long)((left + (uint64_t)until.tv_nsec) % NSEC_PER_SEC);
		pthread_cond_clockwait(&progress, &lock, CLOCK_MONOTONIC, &until);
	}
	return 0;
}

int log_relay_set(enum log_level level, log_relay_fn *fn, void *user, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	uint64_t before;
	bool inside;
	int rc = 0;

	pthread_mutex_lock(&lock);
	inside = running && pthread_equal(thread, pthread_self());
	if (fn)
		rc = start(errinfo);
	if (rc) {
		pthread_mutex_unlock(&lock);
		return rc;
	}
	before = atomic_load(&ring.written);
	if (function && !inside)
		rc = wait_for(before, deadline_ns, errinfo);
	/* The lock was given up: the thread may have ended. */
	if (fn && start(errinfo)) {
		fn = NULL;
		rc = -EAGAIN;
	}
	function = fn;
	function_from = before;
	function_arg = user;
	log_set_tap(fn ? level : LOG_LEVEL_OFF, tap);
	if (running && !inside && rc == 0)
		rc = wait_for(begun, deadline_ns, errinfo);
	if (running && !function)
		(void)sem_post(&ring.ready);
	pthread_mutex_unlock(&lock);
	return rc;
}
