/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/slab_thread.h"

#include <errno.h>
#include <unistd.h>
#include <utlist.h>

#include "client/space/memory.h"
#include "common/handshake.h"
#include "common/log.h"
#include "common/thread.h"

void slab_thread_init(struct slab_thread *t, struct session *s, struct thread_channels *channels)
{
	t->session = s;
	journal_init(&t->journal, channels);
	pthread_mutex_init(&t->lock, NULL);
}

void slab_thread_destroy(struct slab_thread *t)
{
	if (!t->session)
		return;
	journal_destroy(&t->journal);
	pthread_mutex_destroy(&t->lock);
}

int slab_thread_give_back(
	struct slab_thread *t, bool all, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct depot *d = &t->session->depot;
	struct slab *s;
	int rc = 0;

	while (rc == 0 && (t->leaving || all || depot_has_surplus(d))) {
		s = t->leaving;
		if (s)
			LL_DELETE(t->leaving, s);
		else
			s = depot_take_empty(d);
		if (!s)
			break;
		rc = memory_free(t->session, s->addr, deadline_ns, errinfo);
		/* It is not this session's any more, however that came. */
		if (rc == -ESTALE || rc == -EINVAL || rc == -EIO)
			rc = 0;
		if (rc)
			LL_PREPEND(t->leaving, s);
		else
			depot_drop(d, s);
	}
	return rc;
}

int slab_thread_flush(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = journal_flush(&t->journal, deadline_ns, errinfo);

	return rc ? rc : session_renew(t->session, true, errinfo);
}

static void work(struct slab_thread *t)
{
	struct errinfo errinfo = { "" };
	int rc = slab_thread_give_back(t, false, session_deadline(t->session), &errinfo);

	if (rc == 0 && depot_has_changes(&t->session->depot))
		rc = slab_thread_flush(t, session_deadline(t->session), &errinfo);
	if (rc && rc != -ECANCELED)
		log_info("slabs: %s", errinfo.text[0] ? errinfo.text : errinfo_errno(-rc));
}

static void *slab_thread_main(void *arg)
{
	struct slab_thread *t = arg;
	uint64_t count;

	while (!atomic_load(&t->stopping)) {
		(void)handshake_wait(
			t->session->slab_fd, -1, t->session->cancel_fd, UINT64_MAX);
		while (read(t->session->slab_fd, &count, sizeof(count)) > 0)
			;
		if (!atomic_load(&t->stopping))
			work(t);
	}
	return NULL;
}

int slab_thread_start(struct slab_thread *t, struct errinfo *errinfo)
{
	int rc = 0;

	if (atomic_load_explicit(&t->started, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&t->lock);
	if (!t->started)
		rc = thread_start(&t->thread, "rmem-slabs", slab_thread_main, t, errinfo);
	if (rc == 0)
		t->started = t->was_started = true;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

void slab_thread_stop(struct slab_thread *t)
{
	if (!t->started)
		return;
	atomic_store(&t->stopping, true);
	slab_thread_wake(t);
	pthread_join(t->thread, NULL);
	t->started = false;
}

void slab_thread_wake(struct slab_thread *t)
{
	session_wake_slab_thread(t->session);
}
