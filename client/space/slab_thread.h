/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that does for a session's slabs what no allocation should wait for: it sends the records of objects, and
 * gives empty slabs back. It starts with the first slab.
 *
 * It is woken by the lease thread, before a renewal, when records have changed, and by a free that leaves more empty
 * slabs than are kept.
 */
#ifndef RMEM_CLIENT_SPACE_SLAB_THREAD_H
#define RMEM_CLIENT_SPACE_SLAB_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/space/journal.h"

struct rmem;

struct slab_thread {
	struct session *session;
	/* In each round: objects that others have freed. NULL: there are none. */
	int (*collect)(struct rmem *rm, uint64_t deadline_ns, struct errinfo *errinfo);
	struct rmem *rm;
	struct journal journal;
	pthread_mutex_t lock;
	_Atomic bool started; /* written under the lock */
	bool was_started;     /* there have been slabs */
	atomic_bool stopping;
	pthread_t thread;
	pthread_cond_t flushed;
	/* Under the lock: rounds of flushing that have begun and ended, one that is asked for, and how the last has ended. */
	uint64_t begun, ended, wanted;
	int result;
	struct slab *leaving; /* taken from the depot, and not given back yet; NULL: none */
};

void slab_thread_init(struct slab_thread *t, struct session *s, struct thread_channels *channels);
void slab_thread_destroy(struct slab_thread *t); /* stopped; zeroed is fine */

/* If it does not run yet. Any thread. -EAGAIN. */
int slab_thread_start(struct slab_thread *t, struct errinfo *errinfo);
/* The session's cancel_fd must be readable by now. */
void slab_thread_stop(struct slab_thread *t);

/* There is something to do. Any thread. */
void slab_thread_wake(struct slab_thread *t);

/* All records are on the server as they were when this was called, or later. Any thread. 0, -ETIMEDOUT, or as rmem_write(). */
int slab_thread_sync(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo);

/*
 * Give back all empty slabs, or as many as the depot does not keep; use memory of lost ones again. Stops at the first that fails. The thread; or, with
 * the thread stopped, any.
 */
int slab_thread_give_back(
	struct slab_thread *t, bool all, uint64_t deadline_ns, struct errinfo *errinfo);

/* Send the records, and renew the lease with the word that they are all there. As before. */
int slab_thread_flush(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
