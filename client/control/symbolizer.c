/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/symbolizer.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "client/control/request.h"
#include "common/clock.h"
#include "common/errand.h"
#include "common/heap.h"
#include "common/log.h"
#include "common/thread.h"

#define RETRY_NS NSEC_PER_SEC

/* Names that are wanted. */
struct symbol_wish {
	struct symbol_wish *next;
	struct site_description *description;
	uint32_t number;
	uint64_t serial;
};

struct symbol_job {
	struct errand errand; /* first: it finds the names */
	struct heap *heap;    /* that this lies on, with all that it needs */
	struct site_description *description;
	uint32_t number;
	uint64_t serial;
	struct site_names_request names; /* once that is done */
};

static void resolve(struct errand *e)
{
	struct symbol_job *job = (struct symbol_job *)e;

	site_resolve(job->description, job->number, &job->names);
}

static void symbol_job_destroy(struct errand *e)
{
	heap_destroy(((struct symbol_job *)e)->heap);
}

/* NULL: out of memory. */
static struct symbol_job *symbol_job_create(const struct symbol_wish *wish)
{
	struct heap *heap = heap_create();
	struct symbol_job *job = heap ? heap_alloc(heap, sizeof(*job)) : NULL;

	if (job)
		job->description = site_description_copy(heap, wish->description);
	if (!job || !job->description) {
		heap_destroy(heap);
		return NULL;
	}
	job->errand.run = resolve;
	job->errand.destroy = symbol_job_destroy;
	job->errand.background = true;
	job->errand.name = "rmem-resolver";
	job->heap = heap;
	job->number = wish->number;
	job->serial = wish->serial;
	return job;
}

/* Another session of this process has other numbers. */
static int check_serial(struct session *s, void *job, struct errinfo *errinfo)
{
	if (s->serial == ((const struct symbol_job *)job)->serial)
		return 0;
	return errinfo_set(errinfo, -ESTALE, "the session that numbered the site is over");
}

/* Send the names of one site. -ESTALE: nobody wants them any more. */
static int send_names(struct session *s, struct symbol_job *job)
{
	struct errinfo errinfo = { "" };
	int rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_SITE_NAMES,
			.deadline_ns = session_deadline(s),
			.encode = site_names_request_encode,
			.request = &job->names,
			.check = check_serial,
			.arg = job },
		&errinfo);

	if (rc)
		log_debug("names of site %u: %s", job->number, errinfo.text);
	return rc;
}

/* Without the lock: start looking for the names of the first wish. */
static int begin(struct symbolizer *n, const struct symbol_wish *wish, struct errinfo *errinfo)
{
	struct symbol_job *job = symbol_job_create(wish);
	int rc;

	if (!job)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	rc = errand_start(&job->errand, errinfo);
	if (rc) {
		errand_leave(&job->errand);
		return rc;
	}
	pthread_mutex_lock(&n->lock);
	n->job = job;
	if (n->cancelled)
		errand_cancel(&job->errand);
	pthread_mutex_unlock(&n->lock);
	return 0;
}

/*
 * Looking names up is seconds of computing for a large program with debug information, and nobody waits
 * for it: it is an errand in the background, in a thread that does not compete with calls of the program. This thread is
 * none of that kind: it takes locks that calls wait for.
 *
 * Without the lock. Find and send; true: done with it, one way or the other.
 */
static bool work(struct symbolizer *n, const struct symbol_wish *wish)
{
	struct errinfo errinfo = { "" };
	int rc = n->job ? 0 : begin(n, wish, &errinfo);

	if (rc) {
		log_debug("names of site %u: %s", wish->number, errinfo.text);
		return true;
	}
	if (errand_wait(&n->job->errand, ERRAND_FOREVER))
		return false;
	rc = send_names(n->session, n->job);
	return rc != -ETIMEDOUT && rc != -ECONNRESET && rc != -ECANCELED;
}

/* With the lock, which is released while memory is freed: the first wish is over. */
static void drop_first(struct symbolizer *n)
{
	struct symbol_wish *wish = n->first;
	struct symbol_job *job = n->job;

	n->first = wish->next;
	if (!n->first)
		n->last = &n->first;
	n->job = NULL;
	pthread_mutex_unlock(&n->lock);
	site_description_destroy(wish->description);
	heap_free(n->session->heap, wish, sizeof(*wish));
	if (job)
		errand_leave(&job->errand);
	pthread_mutex_lock(&n->lock);
}

static struct timespec monotonic_in(uint64_t ns)
{
	uint64_t until = clock_read_ns(CLOCK_MONOTONIC) + ns;

	return (struct timespec){ (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) };
}

static void *symbolizer_main(void *arg)
{
	struct symbolizer *n = arg;
	struct private_entry *const stack = thread_hide_stack();

	pthread_mutex_lock(&n->lock);
	while (!n->cancelled && (!n->stopping || n->first)) {
		struct symbol_wish *wish = n->first;
		bool done;

		n->idle = !wish;
		pthread_cond_broadcast(&n->changed);
		if (!wish) {
			pthread_cond_wait(&n->changed, &n->lock);
			continue;
		}
		pthread_mutex_unlock(&n->lock);
		done = work(n, wish);
		pthread_mutex_lock(&n->lock);
		if (!done && !n->stopping) {
			struct timespec until = monotonic_in(RETRY_NS);

			pthread_cond_timedwait(&n->changed, &n->lock, &until);
			continue;
		}
		drop_first(n);
	}
	n->idle = true;
	pthread_cond_broadcast(&n->changed);
	pthread_mutex_unlock(&n->lock);
	thread_show_stack(stack);
	return NULL;
}

int symbolizer_start(struct symbolizer *n, struct session *s, struct errinfo *errinfo)
{
	pthread_condattr_t attr;
	int rc;

	n->session = s;
	n->last = &n->first;
	n->idle = true;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->changed, &attr);
	pthread_condattr_destroy(&attr);
	rc = thread_start(&n->thread, "rmem-symbols", symbolizer_main, n, errinfo);
	n->started = rc == 0;
	return rc;
}

void symbolizer_add(
	struct symbolizer *n, struct site_description *d, uint32_t number, uint64_t serial)
{
	struct symbol_wish *wish = heap_alloc(n->session->heap, sizeof(*wish));

	if (!wish) {
		site_description_destroy(d);
		return;
	}
	wish->description = d;
	wish->number = number;
	wish->serial = serial;
	pthread_mutex_lock(&n->lock);
	*n->last = wish;
	n->last = &wish->next;
	n->idle = false;
	pthread_cond_broadcast(&n->changed);
	pthread_mutex_unlock(&n->lock);
}

void symbolizer_stop(struct symbolizer *n, uint64_t deadline_ns)
{
	uint64_t now = clock_boot_ns();
	struct timespec until = monotonic_in(deadline_ns > now ? deadline_ns - now : 0);
	uint64_t one = 1;

	if (!n->started)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_cond_broadcast(&n->changed);
	while (!n->idle)
		if (pthread_cond_timedwait(&n->changed, &n->lock, &until))
			break;
	n->cancelled = true;
	if (n->job)
		errand_cancel(&n->job->errand);
	pthread_mutex_unlock(&n->lock);
	if (write(n->session->cancel_fd, &one, sizeof(one)) < 0)
		log_debug("cannot cancel the symbolizer");
	pthread_join(n->thread, NULL);
	pthread_mutex_lock(&n->lock);
	while (n->first)
		drop_first(n);
	pthread_mutex_unlock(&n->lock);
	pthread_cond_destroy(&n->changed);
	pthread_mutex_destroy(&n->lock);
	n->started = false;
}
