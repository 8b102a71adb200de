/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an allocation and a free of 64 bytes cost when everything is warm: glibc, mimalloc, in one process and
 * in turn. Needs no device.
 *
 *	malloc-bench ROUNDS		a line per pattern, number of threads and contender: nanoseconds, median over the rounds
 *	malloc-bench CONTENDER PATTERN N	one thread does N of them, nothing is printed: for callgrind
 *
 * Patterns:
 *	pair	allocate, free
 *	batch	allocate 64, free them in the order in which they were allocated
 *	pass	half of the threads allocate, the others free: 256 at a time go from one to the other
 *
 * Each thread has other objects of this size around, as a program has: an allocator whose only object comes and goes may
 * be at the edge of something each time (mimalloc then takes twice as many instructions).
 *
 * Times are processor time of all threads, divided by the number of objects: other work on the machine does not count,
 * nor does waiting for the other thread. The contender `none` allocates nothing: what is left is the loop.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/addr.h"
#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/support/lender.h"

#define OBJECT_BYTES 64U
#define AROUND 1000U
#define BATCH 64U
#define PASSED 256U
#define OBJECTS 512000U     /* per thread and round */
#define WARM_OBJECTS 51200U /* both of whole batches, and of all lots */
#define THREADS_MAX 4U
#define ROUNDS_MAX 99U

struct contender {
	const char *name;
	void *(*alloc)(size_t bytes);
	void (*free)(void *p);
};

/* From one thread to another, in lots: enough that neither often waits for the other. */
#define LOTS 16U
struct hand {
	sem_t full, empty;
	void *object[LOTS][PASSED];
};

struct work {
	const struct contender *by;
	struct hand *hand;
	uint32_t objects;
	uint64_t cpu_ns; /* out */
};

struct pattern {
	const char *name;
	void (*first)(const struct work *, uint32_t objects);
	void (*second)(const struct work *, uint32_t objects); /* of every other thread */
	unsigned threads_min;
};

static pthread_barrier_t warm;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "malloc-bench: %s\n", what);
	exit(1);
}

/* ---- contenders ---- */

static __thread char no_object[OBJECT_BYTES];

static void *none_alloc(size_t bytes)
{
	(void)bytes;
	return no_object;
}

static void none_free(void *p)
{
	(void)p;
}

/* librmem with a lender in the process: what a session does once it has its slabs, which needs no server. */
static struct rmem *with_sites, *without_sites, *with_samples;

static void *alloc_of(struct rmem *rm, size_t bytes)
{
	rmem_addr_t addr = 0;

	if (rmem_alloc(rm, bytes, NULL, &addr))
		return NULL;
	return (void *)(uintptr_t)addr;
}

static void *rmem_sites_alloc(size_t bytes)
{
	return alloc_of(with_sites, bytes);
}

static void rmem_sites_free(void *p)
{
	rmem_free(with_sites, (uintptr_t)p);
}

static void *rmem_plain_alloc(size_t bytes)
{
	return alloc_of(without_sites, bytes);
}

static void rmem_plain_free(void *p)
{
	rmem_free(without_sites, (uintptr_t)p);
}

/* RMEM_CHECK: what a lender in the process answers at once takes round trips of a server, for one in so many. */
#define SAMPLES "sample:1000"

static void *rmem_samples_alloc(size_t bytes)
{
	return alloc_of(with_samples, bytes);
}

static void rmem_samples_free(void *p)
{
	rmem_free(with_samples, (uintptr_t)p);
}

enum { NONE, GLIBC, MIMALLOC, RMEM, RMEM_SITES, RMEM_SAMPLES };
static struct contender contenders[] = {
	[NONE] = { "none", none_alloc, none_free },
	[GLIBC] = { "glibc", malloc, free },
	[MIMALLOC] = { "mimalloc", NULL, NULL }, /* load_mimalloc() */
	[RMEM] = { "rmem-no-sites", rmem_plain_alloc, rmem_plain_free },
	[RMEM_SITES] = { "rmem", rmem_sites_alloc, rmem_sites_free },
	[RMEM_SAMPLES] = { "rmem-samples", rmem_samples_alloc, rmem_samples_free },
};
#define CONTENDERS (sizeof(contenders) / sizeof(*contenders))

/* Loaded, not linked: it would replace glibc's. */
static void load_mimalloc(struct contender *c)
{
	void *lib = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);

	must(lib, "mimalloc is not installed; install it: scripts/deps bench");
	*(void **)&c->alloc = dlsym(lib, "mi_malloc");
	*(void **)&c->free = dlsym(lib, "mi_free");
	must(c->alloc && c->free, "this mimalloc has no mi_malloc");
}

/* ---- patterns ---- */

/* What is remote is only compared. */
static void touch(void *p)
{
	if ((uintptr_t)p >> ADDR_TAG_SHIFT != ADDR_TAG)
		*(volatile char *)p = 1;
}

static void do_pairs(const struct work *w, uint32_t objects)
{
	for (uint32_t i = 0; i < objects; i++) {
		void *p = w->by->alloc(OBJECT_BYTES);

		touch(p);
		w->by->free(p);
	}
}

static void do_batches(const struct work *w, uint32_t objects)
{
	void *p[BATCH];

	for (uint32_t i = 0; i < objects; i += BATCH) {
		for (unsigned k = 0; k < BATCH; k++) {
			p[k] = w->by->alloc(OBJECT_BYTES);
			touch(p[k]);
		}
		for (unsigned k = 0; k < BATCH; k++)
			w->by->free(p[k]);
	}
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s) != 0)
		continue;
}

static void do_produce(const struct work *w, uint32_t objects)
{
	for (uint32_t i = 0; i < objects; i += PASSED) {
		void **lot = w->hand->object[i / PASSED % LOTS];

		wait_for(&w->hand->empty);
		for (unsigned k = 0; k < PASSED; k++) {
			lot[k] = w->by->alloc(OBJECT_BYTES);
			touch(lot[k]);
		}
		sem_post(&w->hand->full);
	}
}

static void do_consume(const struct work *w, uint32_t objects)
{
	for (uint32_t i = 0; i < objects; i += PASSED) {
		void **lot = w->hand->object[i / PASSED % LOTS];

		wait_for(&w->hand->full);
		for (unsigned k = 0; k < PASSED; k++)
			w->by->free(lot[k]);
		sem_post(&w->hand->empty);
	}
}

static const struct pattern patterns[] = {
	{ "pair", do_pairs, do_pairs, 1 },
	{ "batch", do_batches, do_batches, 1 },
	{ "pass", do_produce, do_consume, 2 },
};
#define PATTERNS (sizeof(patterns) / sizeof(*patterns))

/* ---- measuring ---- */

/* Two of three stay until leave(). */
static void settle(const struct contender *by, void *around[AROUND])
{
	for (unsigned i = 0; i < AROUND; i++)
		around[i] = by->alloc(OBJECT_BYTES);
	for (unsigned i = 0; i < AROUND; i += 3) {
		by->free(around[i]);
		around[i] = NULL;
	}
}

static void leave(const struct contender *by, void *around[AROUND])
{
	for (unsigned i = 0; i < AROUND; i++)
		if (around[i])
			by->free(around[i]);
}

struct thread {
	pthread_t id;
	struct work work;
	void (*go)(const struct work *, uint32_t objects);
};

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	void *around[AROUND];
	uint64_t began;

	settle(t->work.by, around);
	t->go(&t->work, WARM_OBJECTS);
	pthread_barrier_wait(&warm);
	began = cpu_ns();
	t->go(&t->work, t->work.objects);
	t->work.cpu_ns = cpu_ns() - began;
	leave(t->work.by, around);
	return NULL;
}

/* Nanoseconds per object: allocated once, freed once, by one thread or by two. */
static double measure(const struct pattern *p, const struct contender *by, unsigned nthreads)
{
	static struct hand hands[THREADS_MAX / 2];
	struct thread threads[THREADS_MAX];
	uint64_t all_ns = 0, objects = 0;

	pthread_barrier_init(&warm, NULL, nthreads);
	for (unsigned i = 0; i < nthreads; i++) {
		struct thread *t = &threads[i];

		if (i % 2 == 0) {
			sem_init(&hands[i / 2].full, 0, 0);
			sem_init(&hands[i / 2].empty, 0, LOTS);
		}
		t->work = (struct work){ .by = by, .hand = &hands[i / 2], .objects = OBJECTS };
		t->go = i % 2 ? p->second : p->first;
		must(pthread_create(&t->id, NULL, thread_main, t) == 0, "no thread");
	}
	for (unsigned i = 0; i < nthreads; i++) {
		pthread_join(threads[i].id, NULL);
		all_ns += threads[i].work.cpu_ns;
		objects += p->first == p->second || i % 2 == 0 ? OBJECTS : 0;
	}
	pthread_barrier_destroy(&warm);
	return (double)all_ns / (double)objects;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Each round's ratio is of times that were measured one after the other. */
static void compare(const struct pattern *p, unsigned nthreads, unsigned rounds)
{
	double ns[CONTENDERS][ROUNDS_MAX], ratio[CONTENDERS][ROUNDS_MAX];

	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned c = 0; c < CONTENDERS; c++)
			ns[c][r] = measure(p, &contenders[c], nthreads);
		for (unsigned c = 0; c < CONTENDERS; c++)
			ratio[c][r] = ns[c][r] / ns[MIMALLOC][r];
	}
	for (unsigned c = 0; c < CONTENDERS; c++)
		printf("%s\t%u\t%s\t%.1f\t%.2f\n", p->name, nthreads, contenders[c].name,
			median(ns[c], rounds), median(ratio[c], rounds));
	fflush(stdout);
}

/* For callgrind: nothing but the loop, for a contender and a pattern of one thread. */
static int run_one(const char *contender, const char *pattern, const char *objects)
{
	for (unsigned c = 0; c < CONTENDERS; c++)
		for (unsigned p = 0; p < PATTERNS; p++)
			if (strcmp(contenders[c].name, contender) == 0 &&
				strcmp(patterns[p].name, pattern) == 0 &&
				patterns[p].threads_min == 1) {
				const struct work w = { .by = &contenders[c] };
				void *around[AROUND];

				settle(w.by, around);
				patterns[p].first(&w, (uint32_t)strtoul(objects, NULL, 10));
				return 0;
			}
	return 1;
}

int main(int argc, char **argv)
{
	const unsigned long rounds = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

	load_mimalloc(&contenders[MIMALLOC]);
	with_sites = lender_open(false, false);
	without_sites = lender_open(false, true);
	with_samples = lender_open(false, false);
	must(with_sites && without_sites && with_samples, "out of memory");
	must(lender_check(with_samples, SAMPLES) == 0, "no samples");
	if (argc == 4)
		return run_one(argv[1], argv[2], argv[3]);
	must(rounds > 0 && rounds <= ROUNDS_MAX,
		"usage: malloc-bench ROUNDS | CONTENDER PATTERN N");
	puts("pattern\tthreads\tallocator\tns\t/ mimalloc");
	for (unsigned p = 0; p < PATTERNS; p++)
		for (unsigned n = patterns[p].threads_min; n <= THREADS_MAX; n *= 2)
			compare(&patterns[p], n, (unsigned)rounds);
	return 0;
}
