/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replays a trace (trace.h) with an allocator and says how much memory that took.
 *
 *	replay-bench ALLOCATOR <TRACE
 *
 * Each thread of the trace is a thread here, but only one runs at a time, in the order of the trace. Every object is
 * written to, a byte in each page and its last, as a program would: memory that is never touched costs nothing
 * in an allocator whose footprint is what the process has resident.
 *
 * Answer: a line of words, each after its name.
 *	live, footprint		the largest of each, bytes
 *	peak			live/footprint of these two, which need not be at the same time
 *	mean			sum of live/sum of footprint over all samples
 *	slabs			how many were asked for
 *
 * Samples are taken after events at equal distances (SAMPLES), and after the event with the most bytes live; they are
 * the same ones for every allocator. The footprint of an allocator that does not say its own is the process's anonymous
 * memory (/proc/self/smaps_rollup), less what it had before the first event.
 */
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "bench/allocator.h"
#include "bench/trace.h"

#define SAMPLES 2000U
#define PAGE 4096U

struct object {
	char *p;
	uint32_t bytes;
};

static struct replay {
	struct trace trace;
	const struct allocator *with;
	struct object *object;
	uint32_t next; /* event */
	uint64_t live, baseline;
	uint64_t live_max, footprint_max;
	double live_sum, footprint_sum;
	sem_t turn[TRACE_THREADS_MAX];
} replay;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "replay-bench: %s\n", what);
	exit(1);
}

static uint64_t anonymous_bytes(void)
{
	static char text[4096]; /* of one thread at a time */
	const int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	const ssize_t n = read(fd, text, sizeof(text) - 1);
	const char *line;

	close(fd);
	text[n > 0 ? n : 0] = 0;
	line = strstr(text, "Anonymous:");
	must(line, "no /proc/self/smaps_rollup");
	return strtoull(line + strlen("Anonymous:"), NULL, 10) * 1024;
}

static void sample(struct replay *r)
{
	const uint64_t footprint =
		r->with->footprint ? r->with->footprint() : anonymous_bytes() - r->baseline;

	r->live_max = r->live > r->live_max ? r->live : r->live_max;
	r->footprint_max = footprint > r->footprint_max ? footprint : r->footprint_max;
	r->live_sum += (double)r->live;
	r->footprint_sum += (double)footprint;
}

static void touch(char *p, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = from; i < bytes; i += PAGE)
		((volatile char *)p)[i] = 1;
	((volatile char *)p)[bytes - 1] = 1;
}

static void do_event(struct replay *r, const struct trace_event *e)
{
	struct object *o = &r->object[e->object];

	r->live += (uint64_t)e->bytes - o->bytes;
	if (e->kind == TRACE_FREE) {
		r->with->free(o->p, o->bytes);
	} else if (e->kind == TRACE_REALLOC) {
		o->p = r->with->resize(o->p, o->bytes, e->bytes);
		must(o->p, "no memory");
		touch(o->p, o->bytes < e->bytes ? o->bytes : 0, e->bytes);
	} else {
		o->p = r->with->alloc(e->bytes, (size_t)1 << e->align_log2);
		must(o->p, "no memory");
		touch(o->p, 0, e->bytes);
	}
	o->bytes = e->bytes;
}

/* Until it is another thread's turn, or the end. */
static void do_events(struct replay *r, uint16_t thread)
{
	const uint32_t distance = r->trace.events / SAMPLES + 1;

	for (; r->next < r->trace.events && r->trace.event[r->next].thread == thread; r->next++) {
		do_event(r, &r->trace.event[r->next]);
		if (r->next % distance == distance - 1 || r->next == r->trace.peak)
			sample(r);
	}
}

/* A turn of the first thread of all is posted at the start, and one of each thread at the end. */
static void *thread_main(void *arg)
{
	struct replay *r = &replay;
	const uint16_t thread = (uint16_t)(uintptr_t)arg;

	for (;;) {
		while (sem_wait(&r->turn[thread]) != 0)
			continue;
		if (r->next == r->trace.events)
			return NULL;
		do_events(r, thread);
		if (r->next < r->trace.events)
			sem_post(&r->turn[r->trace.event[r->next].thread]);
		for (unsigned t = 0; r->next == r->trace.events && t < r->trace.threads; t++)
			sem_post(&r->turn[t]);
	}
}

static void run(struct replay *r)
{
	pthread_t threads[TRACE_THREADS_MAX];

	for (unsigned t = 0; t < r->trace.threads; t++) {
		must(sem_init(&r->turn[t], 0, 0) == 0, "no semaphore");
		must(pthread_create(&threads[t], NULL, thread_main, (void *)(uintptr_t)t) == 0,
			"no thread");
	}
	r->baseline = anonymous_bytes();
	sem_post(&r->turn[r->trace.event[0].thread]);
	for (unsigned t = 0; t < r->trace.threads; t++)
		pthread_join(threads[t], NULL);
}

int main(int argc, char **argv)
{
	struct replay *r = &replay;

	must(argc == 2 && (r->with = allocator_named(argv[1])),
		"usage: replay-bench glibc|mimalloc|rmem <TRACE");
	must(trace_read(&r->trace, stdin) == 0, "no trace on standard input, or a damaged one");
	must(r->with->open() == 0,
		"this allocator is not installed; install it: scripts/deps bench");
	r->object = mmap(NULL, r->trace.objects * sizeof(*r->object), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must(r->object != MAP_FAILED, "no memory");
	run(r);
	printf("events %" PRIu32 " live %" PRIu64 " footprint %" PRIu64
	       " peak %.3f mean %.3f slabs %" PRIu64 "\n",
		r->trace.events, r->live_max, r->footprint_max,
		(double)r->live_max / (double)r->footprint_max, r->live_sum / r->footprint_sum,
		r->with->slabs ? r->with->slabs() : 0);
	return 0;
}
