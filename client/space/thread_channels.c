/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/thread_channels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "client/base/barrier.h"
#include "client/data/reconnect.h"
#include "client/space/locals.h"
#include "client/base/wiped.h"

/* As the header says, or gcc asks the loader for it, which may allocate and lock. */
_Thread_local struct thread_channel thread_channel_now
	__attribute__((tls_model("initial-exec"))) = { .quick = QUICK_NONE };

/* Sessions that are open: an ending thread must know which of its channels still exist. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread_channels *open_sessions;
static uint64_t last_id;

static void give_back(struct thread_channels *t, const struct thread_channel *mine)
{
	pthread_mutex_lock(&t->lock);
	/* With the lock: thread_channels_drain() may be at the same magazines. */
	if (mine->cache) {
		(void)thread_cache_drain(mine->cache);
		heap_free(t->session->heap, mine->cache->sites, sizeof(*mine->cache->sites));
		mine->cache->sites = NULL;
	}
	if (mine->channel && !mine->common) {
		LL_PREPEND2(t->free, mine->channel, next_free);
		t->given--;
	}
	if (mine->cache)
		LL_PREPEND2(t->free_caches, mine->cache, next_free);
	pthread_mutex_unlock(&t->lock);
}

/* A thread ends: its channels and magazines are for others. */
static void leave(struct locals *l)
{
	thread_channel_now = (struct thread_channel){ .quick = QUICK_NONE };
	if (wiped_is_child())
		return; /* the parent's locks may never be released in a child */
	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < l->count; i++) {
		struct thread_channel *mine = &l->channels[i];
		struct thread_channels *t = open_sessions;

		while (t && t->id != mine->id)
			t = t->next;
		if (t)
			give_back(t, mine);
	}
	pthread_mutex_unlock(&open_lock);
}

void thread_channels_init(struct thread_channels *t, struct session *s, unsigned limit)
{
	t->session = s;
	t->limit = limit;
	t->cache_hidden = !barrier_is_there();
	pthread_mutex_init(&t->lock, NULL);
	fair_lock_init(&t->common_lock);
	pthread_mutex_lock(&open_lock);
	t->id = ++last_id;
	atomic_store(&s->vitals->quick, t->id);
	LL_PREPEND(open_sessions, t);
	pthread_mutex_unlock(&open_lock);
}

void thread_channels_destroy(struct thread_channels *t)
{
	struct thread_cache *cache, *next_cache;
	struct channel *ch, *next;

	if (!t->id)
		return;
	pthread_mutex_lock(&open_lock);
	LL_DELETE(open_sessions, t);
	pthread_mutex_unlock(&open_lock);
	LL_FOREACH_SAFE (t->all, ch, next)
		channel_destroy(ch);
	LL_FOREACH_SAFE (t->caches, cache, next_cache)
		thread_cache_destroy(cache);
	fair_lock_destroy(&t->common_lock);
	pthread_mutex_destroy(&t->lock);
	t->id = 0;
}

/* ---- channels ---- */

static void add_stats(struct rmem_stats *sum, const struct traffic *t)
{
	uint64_t *const requests[WAYS] = { &sum->inline_requests, &sum->in_place_requests,
		&sum->registered_requests, &sum->slot_requests };
	uint64_t *const bytes[WAYS] = { &sum->inline_bytes, &sum->in_place_bytes,
		&sum->registered_bytes, &sum->slot_bytes };

	for (int way = 0; way < WAYS; way++) {
		*requests[way] += traffic_get(&t->requests[way]);
		*bytes[way] += traffic_get(&t->bytes[way]);
	}
	sum->registrations += traffic_get(&t->registrations);
	sum->doorbells += traffic_get(&t->doorbells);
	sum->atomics += traffic_get(&t->atomics);
}

void thread_channels_stats(struct thread_channels *t, struct rmem_stats *out)
{
	struct channel *ch;

	pthread_mutex_lock(&t->lock);
	*out = t->retired;
	LL_FOREACH (t->all, ch)
		add_stats(out, &ch->pipeline.traffic);
	pthread_mutex_unlock(&t->lock);
	out->size = sizeof(*out);
}

int thread_channels_add(struct thread_channels *t, uint64_t deadline_ns, struct channel **out,
	struct errinfo *errinfo)
{
	struct channel *ch = channel_create(t->session);
	int rc;

	if (!ch)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	rc = reconnect_channel(ch, deadline_ns, errinfo);
	if (rc) {
		channel_destroy(ch);
		return rc;
	}
	pthread_mutex_lock(&t->lock);
	LL_PREPEND(t->all, ch);
	pthread_mutex_unlock(&t->lock);
	*out = ch;
	return 0;
}

void thread_channels_remove(struct thread_channels *t, struct channel *ch)
{
	pthread_mutex_lock(&t->lock);
	LL_DELETE(t->all, ch);
	add_stats(&t->retired, &ch->pipeline.traffic);
	pthread_mutex_unlock(&t->lock);
	channel_destroy(ch);
}

/* ---- threads ---- */

/* With the lock: one that an ended thread has left, or NULL, for one to be made. It counts as given from now on. */
static struct channel *take_free(struct thread_channels *t)
{
	struct channel *ch = t->free;

	if (ch)
		LL_DELETE2(t->free, ch, next_free);
	t->given++;
	return ch;
}

/* One that an ended thread has left, or leave to make one; false: there are enough. */
static bool claim(struct thread_channels *t, struct channel **out)
{
	bool claimed;

	pthread_mutex_lock(&t->lock);
	claimed = t->given < t->limit;
	*out = claimed ? take_free(t) : NULL;
	pthread_mutex_unlock(&t->lock);
	return claimed;
}

static void unclaim(struct thread_channels *t)
{
	pthread_mutex_lock(&t->lock);
	t->given--;
	pthread_mutex_unlock(&t->lock);
}

static int enter_common(struct thread_channels *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	if (fair_lock_enter(&t->common_lock, deadline_ns) == 0)
		return 0;
	return errinfo_set(errinfo, -ETIMEDOUT,
		"other threads had the connection that they share until its time was over");
}

/* Among those who share the common channel. */
static int join_common(struct thread_channels *t, uint64_t deadline_ns, struct thread_channel *out,
	struct errinfo *errinfo)
{
	int rc;

	rc = enter_common(t, deadline_ns, errinfo);
	if (rc)
		return rc;
	rc = t->common ? 0 : thread_channels_add(t, deadline_ns, &t->common, errinfo);
	*out = (struct thread_channel){ .id = t->id, .channel = t->common, .common = true };
	fair_lock_leave(&t->common_lock);
	return rc;
}

/* A channel of its own; the common one if there are enough, or the server keeps no more. */
static int choose(struct thread_channels *t, uint64_t deadline_ns, struct thread_channel *out,
	struct errinfo *errinfo)
{
	struct channel *ch;
	int rc = 0;

	if (claim(t, &ch)) {
		if (!ch)
			rc = thread_channels_add(t, deadline_ns, &ch, errinfo);
		if (rc)
			unclaim(t);
		if (rc != -EUSERS) {
			*out = (struct thread_channel){ .id = t->id, .channel = ch };
			return rc;
		}
	}
	return join_common(t, deadline_ns, out, errinfo);
}

/* Channels of sessions that are closed make room. */
static void forget_closed(struct locals *l)
{
	size_t kept = 0;

	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < l->count; i++) {
		const struct thread_channels *t = open_sessions;

		while (t && t->id != l->channels[i].id)
			t = t->next;
		if (t)
			l->channels[kept++] = l->channels[i];
	}
	pthread_mutex_unlock(&open_lock);
	l->count = kept;
}

static bool make_room(struct locals *l)
{
	size_t capacity;
	struct thread_channel *channels;

	if (l->count == l->capacity)
		forget_closed(l);
	if (l->count < l->capacity)
		return true;
	capacity = l->capacity ? l->capacity * 2 : 4;
	channels = realloc(l->channels, capacity * sizeof(*channels));
	if (!channels)
		return false;
	l->channels = channels;
	l->capacity = capacity;
	return true;
}

/* The thread has used this one last. */
static void remember(const struct thread_channels *t, const struct thread_channel *mine)
{
	const bool quick = !t->cache_hidden && mine->cache && (t->no_sites || mine->cache->sites);

	thread_channel_now = *mine;
	thread_channel_now.quick = quick ? t->id : QUICK_NONE;
}

/* What is written down for this thread; NULL: nothing. */
static struct thread_channel *find_noted(const struct thread_channels *t, const struct locals *l)
{
	for (size_t i = 0; l && i < l->count; i++)
		if (l->channels[i].id == t->id)
			return &l->channels[i];
	return NULL;
}

/* From the common channel to one that a thread has left since. None is made: the server may have refused one. */
static void leave_common(struct thread_channels *t)
{
	struct thread_channel *noted = find_noted(t, locals_get());
	struct channel *ch;

	if (!noted)
		return;
	pthread_mutex_lock(&t->lock);
	ch = t->free ? take_free(t) : NULL;
	pthread_mutex_unlock(&t->lock);
	if (!ch)
		return;
	noted->channel = ch;
	noted->common = false;
	remember(t, noted);
}

/* What is written down for this thread, or room for it. NULL: there is none. */
static struct thread_channel *find_or_note(const struct thread_channels *t)
{
	struct locals *l = locals_get();
	struct thread_channel *noted = find_noted(t, l);

	if (noted || !l || !make_room(l))
		return noted;
	l->leave = leave;
	noted = &l->channels[l->count++];
	*noted = (struct thread_channel){ .id = t->id };
	return noted;
}

static int find_mine(struct thread_channels *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct thread_channel *noted = find_or_note(t);
	struct thread_channel mine;
	int rc;

	if (noted && noted->channel) {
		remember(t, noted);
		return 0;
	}
	/* Only what is written down is given back when the thread ends. */
	rc = noted ? choose(t, deadline_ns, &mine, errinfo)
		   : join_common(t, deadline_ns, &mine, errinfo);
	if (rc)
		return rc;
	if (noted) {
		mine.cache = noted->cache;
		*noted = mine;
	}
	remember(t, &mine);
	return 0;
}

struct thread_cache *thread_channels_cache(struct thread_channels *t)
{
	struct thread_channel *noted = find_or_note(t);

	if (!noted)
		return NULL;
	if (!noted->cache) {
		pthread_mutex_lock(&t->lock);
		noted->cache = t->free_caches;
		if (noted->cache)
			LL_DELETE2(t->free_caches, noted->cache, next_free);
		else if ((noted->cache = thread_cache_create(&t->session->depot)) != NULL)
			LL_PREPEND(t->caches, noted->cache);
		pthread_mutex_unlock(&t->lock);
	}
	if (noted->cache && !noted->cache->sites && !t->no_sites)
		noted->cache->sites = heap_alloc(t->session->heap, sizeof(*noted->cache->sites));
	if (noted->cache)
		noted->cache->plain_bytes = t->no_sites ? 8 * SIZE_CLASSES_FINE : 0;
	remember(t, noted);
	return noted->cache;
}

void thread_channels_drain(struct thread_channels *t)
{
	struct thread_cache *cache;

	pthread_mutex_lock(&t->lock);
	LL_FOREACH (t->caches, cache)
		(void)thread_cache_drain(cache);
	pthread_mutex_unlock(&t->lock);
}

int thread_channels_enter(struct thread_channels *t, uint64_t deadline_ns, struct channel **out,
	struct errinfo *errinfo)
{
	const bool known = thread_channel_now.id == t->id && thread_channel_now.channel;
	int rc = known ? 0 : find_mine(t, deadline_ns, errinfo);

	if (rc)
		return rc;
	if (thread_channel_now.common)
		leave_common(t);
	if (thread_channel_now.common)
		rc = enter_common(t, deadline_ns, errinfo);
	if (rc)
		return rc;
	*out = thread_channel_now.channel;
	return 0;
}

void thread_channels_leave(struct thread_channels *t)
{
	if (!thread_channels_mine(t))
		fair_lock_leave(&t->common_lock);
}
