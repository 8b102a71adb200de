/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/errand.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

enum { DONE = 1, LEFT = 2, CANCELLED = 4 };

/* Left and done: the next errand frees them. */
static struct errand *_Atomic finished;

static void futex_wake(_Atomic uint32_t *word)
{
	/* Only its address is looked at: it may have been freed, once it said that it is done. */
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void bury(struct errand *e)
{
	e->next = atomic_load(&finished);
	while (!atomic_compare_exchange_weak(&finished, &e->next, e))
		;
}

static void sweep(void)
{
	struct errand *e = atomic_exchange(&finished, NULL);

	while (e) {
		struct errand *next = e->next;

		e->destroy(e);
		e = next;
	}
}

/* A real-time policy that is inherited would make the nice value void. Where it is SCHED_IDLE, it may have to stay. */
static void stand_back(const char *name)
{
	const struct sched_param param = { 0 };

	if (pthread_setschedparam(pthread_self(), SCHED_BATCH, &param) ||
		setpriority(PRIO_PROCESS, (id_t)gettid(), 19) != 0)
		log_debug("%s: cannot run at nice 19", name);
}

static void *errand_main(void *arg)
{
	struct errand *e = arg;
	struct private_entry *const stack = thread_hide_stack();

	if (e->background)
		stand_back(e->name);
	e->run(e);
	if (atomic_fetch_or(&e->state, DONE) & LEFT)
		bury(e);
	else
		futex_wake(&e->state);
	thread_show_stack(stack);
	return NULL;
}

int errand_start(struct errand *e, struct errinfo *errinfo)
{
	pthread_t thread;
	int rc;

	sweep();
	e->started = true;
	rc = thread_start(&thread, e->name, errand_main, e, errinfo);
	if (rc)
		e->started = false;
	else
		pthread_detach(thread);
	return rc;
}

int errand_wait(struct errand *e, uint64_t deadline_ns)
{
	for (;;) {
		uint32_t state = atomic_load(&e->state);
		uint64_t now = clock_boot_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
		struct timespec ts = { (time_t)(left / NSEC_PER_SEC), (long)(left % NSEC_PER_SEC) };

		if (state & DONE)
			return 0;
		if (state & CANCELLED)
			return -ECANCELED;
		if (!left)
			return -ETIMEDOUT;
		(void)syscall(SYS_futex, &e->state, FUTEX_WAIT_PRIVATE, state,
			deadline_ns == ERRAND_FOREVER ? NULL : &ts, NULL, 0);
	}
}

void errand_cancel(struct errand *e)
{
	atomic_fetch_or(&e->state, CANCELLED);
	futex_wake(&e->state);
}

void errand_leave(struct errand *e)
{
	if (!e->started || atomic_fetch_or(&e->state, LEFT) & DONE)
		e->destroy(e);
	sweep();
}
