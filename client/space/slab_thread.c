/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/slab_thread.h"

#include <errno.h>
#include <unistd.h>

#include "client/control/release.h"
#include "common/handshake.h"
#include "common/log.h"
#include "common/thread.h"

void slab_thread_init(struct slab_thread *t, struct session *s, struct thread_channels *channels)
{
	pthread_condattr_t attr;

	t->session = s;
	journal_init(&t->journal, channels);
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->flushed, &attr);
	pthread_condattr_destroy(&attr);
}

void slab_thread_destroy(struct slab_thread *t)
{
	if (!t->session)
		return;
	journal_destroy(&t->journal);
	pthread_cond_destroy(&t->flushed);
	pthread_mutex_destroy(&t->lock);
}

/* One that could not be given back the last time, or another one. NULL: there is none. */
static struct slab *choose(struct slab_thread *t, bool all)
{
	struct depot *d = &t->session->depot;

	if (!t->leaving && (all || depot_has_surplus(d))) {
		t->leaving = depot_take_empty(d);
		/* Its records are not sent any more. Until the server has it, it may take freed objects for live. */
		if (t->leaving)
			atomic_fetch_add(&d->unsent, 1);
	}
	return t->leaving;
}

/* With its slots back, the program has no object of it, but a call that has freed one may not be over. */
static bool is_in_table(void *arg, const struct slab *s)
{
	struct session *session = arg;
	const struct block *block;
	bool found;

	pthread_mutex_lock(&session->table);
	block = blocks_find(&session->blocks, s->addr);
	found = block && block->slab == s;
	pthread_mutex_unlock(&session->table);
	return found;
}

int slab_thread_give_back(
	struct slab_thread *t, bool all, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct depot *d = &t->session->depot;
	struct slab *s;

	depot_reuse_lost(d, is_in_table, t->session);
	while ((s = choose(t, all)) != NULL) {
		int rc = release_block(t->session, s->addr, s, 0, deadline_ns, errinfo);

		/* It is not this session's any more, however that came. */
		if (rc && rc != -ESTALE && rc != -EINVAL && rc != -EIO && rc != -EALREADY)
			return rc;
		t->leaving = NULL;
		atomic_fetch_sub(&d->unsent, 1);
		depot_drop(d, s);
	}
	return 0;
}

int slab_thread_flush(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = journal_flush(&t->journal, deadline_ns, errinfo);

	return rc ? rc
		  : session_renew(t->session, !t->leaving && !depot_has_doubts(&t->session->depot),
			    errinfo);
}

/* Does somebody wait for the round that begins now? */
static bool begin_round(struct slab_thread *t)
{
	bool wanted;

	pthread_mutex_lock(&t->lock);
	wanted = t->wanted > t->begun++;
	pthread_mutex_unlock(&t->lock);
	return wanted;
}

static void end_round(struct slab_thread *t, int result)
{
	pthread_mutex_lock(&t->lock);
	t->ended = t->begun;
	t->result = result;
	pthread_cond_broadcast(&t->flushed);
	pthread_mutex_unlock(&t->lock);
}

int slab_thread_sync(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t until =
		clock_read_ns(CLOCK_MONOTONIC) + (deadline_ns > now ? deadline_ns - now : 0);
	const struct timespec ts = { (time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC) };
	uint64_t round;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	round = t->wanted = t->begun + 1; /* one that has begun may have passed the record */
	slab_thread_wake(t);
	while (t->ended < round && rc == 0)
		rc = -pthread_cond_timedwait(&t->flushed, &t->lock, &ts);
	if (rc == 0)
		rc = t->result;
	pthread_mutex_unlock(&t->lock);
	return rc ? errinfo_set(errinfo, rc, "the records of objects do not get to rmemd: %s",
			    errinfo_errno(-rc))
		  : 0;
}

static void work(struct slab_thread *t)
{
	const bool wanted = begin_round(t);
	struct errinfo errinfo = { "" };
	int rc = 0;

	/* First: others may wait for the records. */
	if (wanted || !depot_is_sent(&t->session->depot))
		rc = slab_thread_flush(t, session_deadline(t->session), &errinfo);
	end_round(t, rc);
	if (rc == 0 && t->collect)
		rc = t->collect(t->rm, session_deadline(t->session), &errinfo);
	if (rc == 0)
		rc = slab_thread_give_back(t, false, session_deadline(t->session), &errinfo);
	if (rc && rc != -ECANCELED)
		log_info("slabs: %s", errinfo.text[0] ? errinfo.text : errinfo_errno(-rc));
}

static void *slab_thread_main(void *arg)
{
	struct slab_thread *t = arg;
	struct private_entry *const stack = thread_hide_stack();
	uint64_t count;

	while (!atomic_load(&t->stopping)) {
		(void)handshake_wait(t->session->slab_fd, -1, t->session->cancel_fd, UINT64_MAX);
		while (read(t->session->slab_fd, &count, sizeof(count)) > 0)
			;
		if (!atomic_load(&t->stopping))
			work(t);
	}
	thread_show_stack(stack);
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
