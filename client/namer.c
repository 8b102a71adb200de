/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/namer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/request.h"
#include "common/clock.h"
#include "common/errand.h"
#include "common/log.h"
#include "common/thread.h"

#define RETRY_NS NSEC_PER_SEC

struct naming {
	struct errand errand; /* first: it finds the names */
	struct naming *next;
	struct site_description *description;
	uint32_t number;
	uint64_t serial;
	struct site_names_request names; /* once that is done */
};

static void resolve(struct errand *e)
{
	struct naming *naming = (struct naming *)e;

	site_resolve(naming->description, naming->number, &naming->names);
}

static void naming_destroy(struct errand *e)
{
	struct naming *naming = (struct naming *)e;

	site_description_destroy(naming->description);
	free(naming);
}

/* Send the names of one site. -ESTALE: nobody wants them any more. */
static int send_names(struct session *s, const struct naming *naming)
{
	uint64_t deadline = session_deadline(s);
	struct why why = { "" };
	struct wire reply;
	int rc;

	rc = session_lock(s, deadline, &why);
	if (rc)
		return rc;
	rc = request_ready(s, deadline, &why);
	if (rc == 0 && s->serial != naming->serial)
		rc = -ESTALE;
	if (rc == 0) {
		site_names_request_put(request_begin(s), &naming->names);
		rc = request_call(s, MESSAGE_SITE_NAMES, deadline, &reply, &why);
	}
	session_unlock(s);
	if (rc)
		log_debug("names of site %u: %s", naming->number, why.text);
	return rc;
}

/*
 * Looking names up is seconds of computing for a large program with debug information, and nobody waits
 * for it: it is an idle errand. Otherwise a scheduler that grants whole slices (EEVDF) makes every call of the
 * program wait for one. This thread is none of that kind: it takes locks that calls wait for.
 *
 * Find and send; true: done with it, one way or the other.
 */
static bool work(struct session *s, struct naming *naming)
{
	struct why why = { "" };
	int rc = naming->errand.started ? 0 : errand_start(&naming->errand, &why);

	if (rc) {
		log_debug("names of site %u: %s", naming->number, why.text);
		return true;
	}
	if (errand_wait(&naming->errand, ERRAND_FOREVER))
		return false;
	rc = send_names(s, naming);
	return rc != -ETIMEDOUT && rc != -ECONNRESET && rc != -ECANCELED;
}

static struct timespec monotonic_in(uint64_t ns)
{
	uint64_t until = clock_read_ns(CLOCK_MONOTONIC) + ns;

	return (struct timespec){ (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) };
}

static void *namer_main(void *arg)
{
	struct namer *n = arg;

	pthread_mutex_lock(&n->lock);
	while (!n->cancelled && (!n->stopping || n->first)) {
		struct naming *naming = n->first;
		bool done;

		n->idle = !naming;
		pthread_cond_broadcast(&n->changed);
		if (!naming) {
			pthread_cond_wait(&n->changed, &n->lock);
			continue;
		}
		pthread_mutex_unlock(&n->lock);
		done = work(n->session, naming);
		pthread_mutex_lock(&n->lock);
		if (!done && !n->stopping) {
			struct timespec until = monotonic_in(RETRY_NS);

			pthread_cond_timedwait(&n->changed, &n->lock, &until);
			continue;
		}
		n->first = naming->next;
		if (!n->first)
			n->last = &n->first;
		errand_leave(&naming->errand);
	}
	n->idle = true;
	pthread_cond_broadcast(&n->changed);
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int namer_start(struct namer *n, struct session *s, struct why *why)
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
	rc = thread_start(&n->thread, "rmem-namer", namer_main, n, why);
	n->started = rc == 0;
	return rc;
}

void namer_add(struct namer *n, struct site_description *d, uint32_t number, uint64_t serial)
{
	struct naming *naming = calloc(1, sizeof(*naming));

	if (!naming) {
		site_description_destroy(d);
		return;
	}
	naming->errand.run = resolve;
	naming->errand.destroy = naming_destroy;
	naming->errand.idle = true;
	naming->errand.name = "rmem-resolver";
	naming->description = d;
	naming->number = number;
	naming->serial = serial;
	pthread_mutex_lock(&n->lock);
	*n->last = naming;
	n->last = &naming->next;
	n->idle = false;
	pthread_cond_broadcast(&n->changed);
	pthread_mutex_unlock(&n->lock);
}

void namer_stop(struct namer *n, uint64_t deadline_ns)
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
	if (n->first)
		errand_cancel(&n->first->errand);
	pthread_mutex_unlock(&n->lock);
	if (write(n->session->cancel_fd, &one, sizeof(one)) < 0)
		log_debug("cannot cancel the namer");
	pthread_join(n->thread, NULL);
	while (n->first) {
		struct naming *naming = n->first;

		n->first = naming->next;
		errand_leave(&naming->errand);
	}
	pthread_cond_destroy(&n->changed);
	pthread_mutex_destroy(&n->lock);
	n->started = false;
}
