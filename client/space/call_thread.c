/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/call_thread.h"

#include <errno.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

void call_thread_init(struct call_thread *t)
{
	pthread_condattr_t attr;

	*t = (struct call_thread){ .jobs = NULL };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->idle, &attr);
	pthread_condattr_destroy(&attr);
}

void call_thread_destroy(struct call_thread *t)
{
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->lock);
}

/* With the lock: after this it may be gone. */
static void hand_back(struct call_job *job)
{
	const uint64_t one = 1;
	const int fd = job->wake_fd;

	atomic_store_explicit(&job->done, true, memory_order_release);
	(void)!write(fd, &one, sizeof(one));
}

/* With the lock, which is given up while the job runs. */
static void run(struct call_thread *t, struct call_job *job)
{
	pthread_mutex_unlock(&t->lock);
	job->kind->run(job);
	pthread_mutex_lock(&t->lock);
	if (!job->left) {
		hand_back(job);
	} else {
		atomic_store_explicit(&job->done, true, memory_order_relaxed);
		DL_APPEND(t->left, job);
	}
}

/* As run(), for a job that was left: it was run, and is undone; or it is not to be run. */
static void dispose(struct call_thread *t, struct call_job *job)
{
	pthread_mutex_unlock(&t->lock);
	if (call_thread_is_done(job))
		job->kind->undo(job);
	job->kind->destroy(job);
	pthread_mutex_lock(&t->lock);
}

/* With the lock: the job that comes next, or NULL. */
static struct call_job *take_next(struct call_thread *t)
{
	struct call_job *job = t->jobs;

	if (job) {
		DL_DELETE(t->jobs, job);
		return job;
	}
	job = t->left;
	if (job)
		DL_DELETE(t->left, job);
	return job;
}

static void *call_thread_main(void *arg)
{
	struct call_thread *t = arg;
	struct private_entry *const stack = thread_hide_stack();

	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		struct call_job *job = take_next(t);

		if (job) {
			t->running = true;
			if (!call_thread_is_done(job) && (!job->left || job->kind->must_run))
				run(t, job);
			else
				dispose(t, job);
			t->running = false;
		} else {
			pthread_cond_broadcast(&t->idle);
			pthread_cond_wait(&t->work, &t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	thread_show_stack(stack);
	return NULL;
}

int call_thread_submit(struct call_thread *t, struct call_job *job, struct errinfo *errinfo)
{
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (!t->started)
		rc = thread_start(&t->thread, "rmem-calls", call_thread_main, t, errinfo);
	if (rc == 0) {
		t->started = true;
		DL_APPEND(t->jobs, job);
		pthread_cond_signal(&t->work);
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

void call_thread_take(struct call_thread *t)
{
	pthread_mutex_lock(&t->lock);
	pthread_mutex_unlock(&t->lock);
}

void call_thread_leave(struct call_thread *t, struct call_job *job)
{
	pthread_mutex_lock(&t->lock);
	job->left = true;
	/* It was handed back: the thread gets it again, to undo it. */
	if (call_thread_is_done(job)) {
		DL_APPEND(t->left, job);
		pthread_cond_signal(&t->work);
	}
	pthread_mutex_unlock(&t->lock);
}

void call_thread_finish(struct call_thread *t, uint64_t deadline_ns)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t until =
		clock_read_ns(CLOCK_MONOTONIC) + (deadline_ns > now ? deadline_ns - now : 0);
	const struct timespec ts = { (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) };

	pthread_mutex_lock(&t->lock);
	while (t->started && (t->jobs || t->left || t->running))
		if (pthread_cond_timedwait(&t->idle, &t->lock, &ts))
			break;
	t->stopping = true;
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

void call_thread_stop(struct call_thread *t)
{
	struct call_job *job;

	if (t->started)
		pthread_join(t->thread, NULL);
	t->started = false;
	while ((job = take_next(t)) != NULL) {
		log_info("a call of a queue was given up when the session was closed");
		job->kind->destroy(job);
	}
}
