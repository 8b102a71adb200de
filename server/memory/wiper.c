/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/wiper.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numa/place.h"
#include "server/base/thread.h"

#define PIECE_BYTES (8ULL << 20) /* wiped between two looks at whether to end */

struct wiper {
	const struct topology *topology;
	unsigned node;
	int done_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* of the ring; held only to read or update it */
	pthread_cond_t given, done;
	struct wiper_range ring[WIPER_RANGES];
	uint64_t ngiven, ndone,
		ntaken; /* so far; ntaken <= ndone <= ngiven <= ntaken + WIPER_RANGES */
	_Atomic bool ending;
	_Atomic uint64_t bytes;
};

/* false: it is to end. */
static bool wipe(struct wiper *w, const struct wiper_range *range)
{
	for (uint64_t at = 0; at < range->bytes;) {
		uint64_t left = range->bytes - at, now = left < PIECE_BYTES ? left : PIECE_BYTES;

		if (atomic_load(&w->ending))
			return false;
		memset(range->addr + at, 0, now);
		at += now;
		atomic_fetch_add(&w->bytes, now);
	}
	return true;
}

static void tell_loop(const struct wiper *w)
{
	const uint64_t one = 1;

	(void)!write(
		w->done_fd, &one, sizeof(one)); /* cannot fail: the counter does not overflow */
}

static void *run(void *arg)
{
	struct wiper *w = arg;

	/* Elsewhere it is slower, and as right. */
	(void)place_thread(w->topology, w->node);
	pthread_mutex_lock(&w->lock);
	while (!atomic_load(&w->ending)) {
		struct wiper_range range;

		if (w->ndone == w->ngiven) {
			pthread_cond_wait(&w->given, &w->lock);
			continue;
		}
		range = w->ring[w->ndone % WIPER_RANGES];
		pthread_mutex_unlock(&w->lock);
		if (!wipe(w, &range))
			return NULL;
		pthread_mutex_lock(&w->lock);
		if (w->ndone++ == w->ntaken)
			tell_loop(w);
		pthread_cond_signal(&w->done);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int wiper_start(struct wiper **out, const struct topology *t, unsigned node, int done_fd)
{
	struct wiper *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->topology = t;
	w->node = node;
	w->done_fd = done_fd;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->given, NULL);
	pthread_cond_init(&w->done, NULL);
	err = thread_start(&w->thread, run, w);
	if (err) {
		free(w);
		return err;
	}
	*out = w;
	return 0;
}

void wiper_stop(struct wiper *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	atomic_store(&w->ending, true);
	pthread_cond_signal(&w->given);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->done);
	pthread_cond_destroy(&w->given);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool wiper_give(struct wiper *w, const struct wiper_range *range)
{
	bool room;

	pthread_mutex_lock(&w->lock);
	room = w->ngiven - w->ntaken < WIPER_RANGES;
	if (room) {
		w->ring[w->ngiven++ % WIPER_RANGES] = *range;
		pthread_cond_signal(&w->given);
	}
	pthread_mutex_unlock(&w->lock);
	return room;
}

bool wiper_take(struct wiper *w, struct wiper_range *out)
{
	bool any;

	pthread_mutex_lock(&w->lock);
	any = w->ntaken < w->ndone;
	if (any)
		*out = w->ring[w->ntaken++ % WIPER_RANGES];
	pthread_mutex_unlock(&w->lock);
	return any;
}

void wiper_wait(struct wiper *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->ntaken == w->ndone && w->ndone < w->ngiven)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

uint64_t wiper_bytes(const struct wiper *w)
{
	return atomic_load(&w->bytes);
}
