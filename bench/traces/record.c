/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records what a program allocates and frees. To be loaded in front of the C library:
 *
 *	LD_PRELOAD=libtrace-record.so RMEM_TRACE=FILE PROGRAM…
 *
 * The file has one struct raw_event (raw.h) per call, in an order in which the calls may have happened: a call that
 * gives memory back is written before it, one that gets memory after it, both under one lock. Addresses are in the
 * file; trace-pack replaces them by numbers. The program keeps its own allocator, the next one in the order of symbols.
 *
 * Only one process is recorded, the first that finds no FILE. What happens before this library is initialised or after
 * it has ended is not in the file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/traces/raw.h"

#define EXPORT __attribute__((visibility("default")))
#define BUFFERED 4096

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*memalign)(size_t, size_t);
	void (*free)(void *);
} next;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct raw_event buffered[BUFFERED]; /* under lock, as is what follows */
static size_t nbuffered;
static int fd = -1;
static uint32_t threads;
static __thread uint32_t thread_number __attribute__((tls_model("initial-exec"))); /* 0: none yet */

static void find_next(void)
{
	if (next.free)
		return;
	*(void **)&next.malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&next.calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next.realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next.memalign = dlsym(RTLD_NEXT, "memalign");
	*(void **)&next.free = dlsym(RTLD_NEXT, "free");
}

static void flush(void)
{
	const char *from = (const char *)buffered;
	size_t left = nbuffered * sizeof(*buffered);

	while (left > 0 && fd >= 0) {
		const ssize_t n = write(fd, from, left);

		if (n < 0 && errno != EINTR)
			fd = -1; /* the file is then too short: trace-pack says so */
		if (n > 0) {
			from += n;
			left -= (size_t)n;
		}
	}
	nbuffered = 0;
}

/* Under lock. */
static void note(enum raw_kind kind, uintptr_t addr, uintptr_t other, size_t bytes)
{
	if (fd < 0)
		return;
	if (thread_number == 0)
		thread_number = ++threads;
	buffered[nbuffered++] = (struct raw_event){ .addr = addr,
		.other = other,
		.bytes = bytes,
		.thread = thread_number - 1,
		.kind = kind };
	if (nbuffered == BUFFERED)
		flush();
}

static void *get(enum raw_kind kind, size_t align, size_t bytes)
{
	void *p;

	find_next();
	pthread_mutex_lock(&lock);
	p = kind == RAW_ALIGNED ? next.memalign(align, bytes) : next.malloc(bytes);
	if (p)
		note(kind, (uintptr_t)p, align, bytes);
	pthread_mutex_unlock(&lock);
	return p;
}

EXPORT void *malloc(size_t bytes)
{
	return get(RAW_MALLOC, 0, bytes);
}

EXPORT void *calloc(size_t n, size_t bytes)
{
	void *p;

	find_next();
	pthread_mutex_lock(&lock);
	p = next.calloc(n, bytes);
	if (p)
		note(RAW_CALLOC, (uintptr_t)p, 0, n * bytes);
	pthread_mutex_unlock(&lock);
	return p;
}

EXPORT void free(void *p)
{
	if (!p)
		return;
	find_next();
	pthread_mutex_lock(&lock);
	note(RAW_FREE, (uintptr_t)p, 0, 0);
	next.free(p);
	pthread_mutex_unlock(&lock);
}

EXPORT void *realloc(void *p, size_t bytes)
{
	const uintptr_t old = (uintptr_t)p;
	void *q;

	if (!p)
		return malloc(bytes);
	find_next();
	pthread_mutex_lock(&lock);
	q = next.realloc(p, bytes);
	if (q)
		note(RAW_REALLOC, (uintptr_t)q, old, bytes);
	else if (bytes == 0)
		note(RAW_FREE, old, 0, 0);
	pthread_mutex_unlock(&lock);
	return q;
}

EXPORT void *memalign(size_t align, size_t bytes)
{
	return get(RAW_ALIGNED, align, bytes);
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
	return get(RAW_ALIGNED, align, bytes);
}

EXPORT int posix_memalign(void **out, size_t align, size_t bytes)
{
	void *p;

	if (align < sizeof(void *) || (align & (align - 1)))
		return EINVAL;
	p = get(RAW_ALIGNED, align, bytes);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

static void lock_for_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void unlock_in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

static void stop_in_child(void)
{
	fd = -1;
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("RMEM_TRACE");

	if (!path)
		return;
	pthread_atfork(lock_for_fork, unlock_in_parent, stop_in_child);
	pthread_mutex_lock(&lock);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void end(void)
{
	pthread_mutex_lock(&lock);
	flush();
	fd = -1;
	pthread_mutex_unlock(&lock);
}
