/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 06-threads: many threads copy at once, and do not stand in each other's way.
 *
 * Nothing has to be done for it. A thread's first copy gets it a connection of its own, a channel, until
 * as many threads as rmem_open() was told have one; those beyond share one more, and wait for each other.
 * A thread that ends leaves its channel to the next.
 *
 * Each thread's calls are done one after the other. Between threads nothing is ordered but by what they do
 * themselves: here each has a part of the memory of its own, and pthread_join() says when it is done.
 *
 *	06-threads [HOST[:PORT]]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define THREADS 6U
#define CHANNELS 4 /* fewer, to show that it works all the same */
#define COPIES 500U
#define WORDS 64U

struct worker {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t part; /* its own */
	uint64_t copies;
};

/* Each round writes what the round before has read, plus one. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t words[WORDS] = { 0 };

	while (w->copies < COPIES) {
		if (rmem_read(w->rm, words, w->part, sizeof(words)))
			break;
		for (unsigned i = 0; i < WORDS; i++)
			words[i]++;
		if (rmem_write(w->rm, w->part, words, sizeof(words)))
			break;
		w->copies += 2;
	}
	/* What went wrong is kept for each thread. */
	if (w->copies < COPIES)
		fprintf(stderr, "06-threads: %s\n", rmem_errmsg());
	return NULL;
}

/* Start them all, wait for them all; how many copies they have made. */
static uint64_t run(struct rmem *rm, rmem_addr_t memory)
{
	struct worker workers[THREADS] = { 0 };
	unsigned started = 0;
	uint64_t copies = 0;

	for (; started < THREADS; started++) {
		struct worker *w = &workers[started];

		*w = (struct worker){ .rm = rm, .part = memory + started * WORDS * 8 };
		if (pthread_create(&w->thread, NULL, work, w))
			break;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		copies += workers[i].copies;
	}
	return copies;
}

int main(int argc, char **argv)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	uint64_t words[THREADS * WORDS], copies = 0, wrong = 0;
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	struct rmem *rm = NULL;
	rmem_addr_t memory = 0;
	int err;

	attr.channels = CHANNELS;
	err = rmem_open(argc > 1 ? argv[1] : NULL, &attr, &rm);
	err = err ? err : rmem_alloc(rm, sizeof(words), &zeroed, &memory);
	if (err == 0)
		copies = run(rm, memory);
	err = err ? err : rmem_read(rm, words, memory, sizeof(words));
	for (unsigned i = 0; i < THREADS * WORDS && err == 0; i++)
		wrong += words[i] != COPIES / 2;
	if (err)
		fprintf(stderr, "06-threads: %s\n", rmem_errmsg());
	else
		printf("%u threads made %" PRIu64 " copies, %" PRIu64 " words are wrong\n", THREADS,
			copies, wrong);
	rmem_free(rm, memory);
	return rmem_close(rm) || err || wrong || copies != THREADS * COPIES;
}
