/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that carries out the calls of a session's queues that take a round trip (rmem_start_alloc() and its like):
 * one at a time, in the order in which they were started, as requests to the server are in any case. It starts with the
 * first of them, and has nothing to do with data: neither a copy nor a renewal waits for it.
 *
 * A job is of its queue until it is submitted, of the thread until call_thread_is_done(), and then of the queue again,
 * which call_thread_take()s it. A queue that ends leaves its jobs to the thread. Those that have been run are undone
 * while no other waits to be run, also none that is submitted later: a call waits for one of them at most.
 *
 * Any thread; of a job: its queue's.
 */
#ifndef RMEM_CLIENT_SPACE_CALL_THREAD_H
#define RMEM_CLIENT_SPACE_CALL_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"

struct call_job;

struct call_job_kind {
	bool must_run; /* also when nobody waits for it any more */
	void (*run)(struct call_job *job);
	/* It was run, and nobody takes its result: give that back, within the session's timeout from now. */
	void (*undo)(struct call_job *job);
	void (*destroy)(struct call_job *job);
};

/* The first member of a job. */
struct call_job {
	const struct call_job_kind *kind;
	int wake_fd; /* an eventfd, written when it is done */
	atomic_bool done;
	/* Under the lock: */
	bool left;
	struct call_job *prev, *next;
};

struct call_thread {
	pthread_mutex_t lock;  /* nothing is waited for with it */
	pthread_cond_t work;   /* there is a job, or the thread is to end */
	pthread_cond_t idle;   /* no job waits, and none runs */
	struct call_job *jobs; /* that are to be run, the oldest first */
	struct call_job *left; /* that are to be undone, while there is none of those */
	bool running;
	bool started, stopping;
	pthread_t thread;
};

void call_thread_init(struct call_thread *t);
void call_thread_destroy(struct call_thread *t); /* stopped */

/* Starts the thread with the first job. -EAGAIN: it could not be started; the job is still the caller's. */
int call_thread_submit(struct call_thread *t, struct call_job *job, struct errinfo *errinfo);

static inline bool call_thread_is_done(const struct call_job *job)
{
	return atomic_load_explicit(&job->done, memory_order_acquire);
}

/* The job is done: when this returns, the thread uses neither the job nor its wake_fd any more. */
void call_thread_take(struct call_thread *t);

/* Nobody waits for the job any more: the thread destroys it. Its wake_fd is not written after this. */
void call_thread_leave(struct call_thread *t, struct call_job *job);

/* Wait until all jobs that were submitted have been run, and those that were left are undone; at most until the deadline. */
void call_thread_finish(struct call_thread *t, uint64_t deadline_ns);

/* Jobs that have not begun are neither run nor undone. The session's cancel_fd must be readable by now. */
void call_thread_stop(struct call_thread *t);

#endif
