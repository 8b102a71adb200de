/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/prefault.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "numa/place.h"
#include "numa/topology.h"

#define THREADS_MAX 16
#define CHUNK_BYTES \
	(32ULL << 20) /* how much one thread takes at a time; progress comes as often \
		       */

/* A range that several threads take chunks from; everything but the constants is under the lock. */
struct work {
	const struct topology *topology;
	unsigned node;
	char *addr;
	uint64_t bytes;
	uint64_t chunk_bytes;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t taken_bytes;
	uint64_t done_bytes;
	unsigned running;
	int err; /* the first one: nobody takes a chunk after it */
};

static int populate(void *addr, size_t bytes)
{
	int ret;

	do {
		ret = madvise(addr, bytes, MADV_POPULATE_WRITE);
	} while (ret != 0 && errno == EINTR);
	if (ret == 0)
		return 0;
	/* A fault that would have been SIGBUS: the mapping is ours, so it is the file system. */
	return errno == EFAULT ? -ENOSPC : -errno;
}

/* Take the next chunk; false when there is none. */
static bool take(struct work *w, char **out_addr, uint64_t *out_bytes)
{
	uint64_t left;

	if (w->err || w->taken_bytes == w->bytes)
		return false;
	left = w->bytes - w->taken_bytes;
	*out_addr = w->addr + w->taken_bytes;
	*out_bytes = left < w->chunk_bytes ? left : w->chunk_bytes;
	w->taken_bytes += *out_bytes;
	return true;
}

static void *worker(void *arg)
{
	struct work *w = arg;
	uint64_t bytes;
	char *addr;

	/* Only speed depends on where the thread runs (some nodes have no CPUs); the memory is
	 * bound. */
	(void)place_thread(w->topology, w->node);
	pthread_mutex_lock(&w->lock);
	while (take(w, &addr, &bytes)) {
		int err;

		pthread_mutex_unlock(&w->lock);
		err = populate(addr, bytes);
		pthread_mutex_lock(&w->lock);
		if (!err)
			w->done_bytes += bytes;
		else if (!w->err)
			w->err = err;
		pthread_cond_signal(&w->changed);
	}
	w->running--;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Wait for the threads, telling how far they are; the callback runs without the lock. */
static void watch(struct work *w, prefault_progress *progress, void *arg)
{
	uint64_t told = 0;
	bool go_on;

	pthread_mutex_lock(&w->lock);
	while (w->running > 0 || told < w->done_bytes) {
		if (told == w->done_bytes) {
			pthread_cond_wait(&w->changed, &w->lock);
			continue;
		}
		told = w->done_bytes;
		if (!progress)
			continue;
		pthread_mutex_unlock(&w->lock);
		go_on = progress(arg, told, w->bytes);
		pthread_mutex_lock(&w->lock);
		if (!go_on && !w->err)
			w->err = -ECANCELED;
	}
	pthread_mutex_unlock(&w->lock);
}

static unsigned thread_count(const struct work *w)
{
	const struct topology_node *n = topology_find(w->topology, w->node);
	uint64_t chunks = (w->bytes + w->chunk_bytes - 1) / w->chunk_bytes;
	uint64_t count = n && n->cpus > 0 ? n->cpus : 1;

	if (count > THREADS_MAX)
		count = THREADS_MAX;
	return (unsigned)(count < chunks ? count : chunks);
}

int prefault_range(const struct topology *t, unsigned node, void *addr, uint64_t bytes,
	uint64_t page_bytes, prefault_progress *progress, void *arg)
{
	struct work w = {
		.topology = t,
		.node = node,
		.addr = addr,
		.bytes = bytes,
		.chunk_bytes = page_bytes > CHUNK_BYTES ? page_bytes : CHUNK_BYTES,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	pthread_t threads[THREADS_MAX];
	unsigned wanted = thread_count(&w), started = 0;

	/* Fewer threads than wanted only take longer. */
	for (; started < wanted; started++) {
		pthread_mutex_lock(&w.lock);
		w.running++;
		pthread_mutex_unlock(&w.lock);
		if (pthread_create(&threads[started], NULL, worker, &w) != 0)
			break;
	}
	if (started < wanted) {
		pthread_mutex_lock(&w.lock);
		w.running--;
		pthread_mutex_unlock(&w.lock);
	}
	watch(&w, progress, arg);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_cond_destroy(&w.changed);
	pthread_mutex_destroy(&w.lock);
	if (wanted > 0 && started == 0)
		return -EAGAIN;
	return w.err;
}
