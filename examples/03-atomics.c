/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 03-atomics: threads share a counter and a lock in remote memory.
 *
 * The counter needs no lock: rmem_fetch_add() is one operation of the server's RDMA device. The lock is
 * a word that holds the number of who has it, and protects a note that takes a read and a write.
 *
 * After -EREMOTEIO nobody knows whether an operation was carried out. A counter has to live with that;
 * a lock does not: its word says who has it.
 *
 *	03-atomics [HOST[:PORT]]
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define THREADS 4
#define ROUNDS 50UL

/* In remote memory. */
struct shared {
	uint64_t counter, lock, note;
};

struct worker {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t shared;
	uint64_t id; /* not 0: that is "nobody" */
	int err;
};

static rmem_addr_t field(const struct worker *w, size_t offset)
{
	return w->shared + offset;
}

/* The number of the worker that has the lock. Adding 0 reads the word, and changes nothing if it is repeated. */
static int ask(const struct worker *w, rmem_addr_t lock, uint64_t *out)
{
	int err;

	do
		err = rmem_fetch_add(w->rm, lock, 0, out);
	while (err == -EREMOTEIO);
	return err;
}

static int acquire(const struct worker *w)
{
	rmem_addr_t lock = field(w, offsetof(struct shared, lock));
	uint64_t old;
	int err;

	for (;;) {
		err = rmem_compare_swap(w->rm, lock, 0, w->id, &old);
		if (err == 0 && old == 0)
			return 0;
		if (err == -EREMOTEIO)
			err = ask(w, lock, &old);
		if (err)
			return err;
		if (old == w->id) /* the swap whose answer was lost took it */
			return 0;
		sched_yield();
	}
}

static int release(const struct worker *w)
{
	rmem_addr_t lock = field(w, offsetof(struct shared, lock));
	uint64_t old;
	int err;

	do {
		err = rmem_compare_swap(w->rm, lock, w->id, 0, &old);
		if (err == 0)
			return 0;
		if (err == -EREMOTEIO)
			err = ask(w, lock, &old);
	} while (err == 0 &&
		 old == w->id); /* else the swap was done: only its owner lets go of a lock */
	return err;
}

static int add_to_note(const struct worker *w)
{
	rmem_addr_t at = field(w, offsetof(struct shared, note));
	uint64_t note = 0;
	int err = acquire(w);

	if (err)
		return err;
	err = rmem_read(w->rm, &note, at, sizeof(note));
	note++;
	if (err == 0)
		err = rmem_write(w->rm, at, &note, sizeof(note));
	return err ? err : release(w);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	rmem_addr_t counter = field(w, offsetof(struct shared, counter));

	for (unsigned long i = 0; i < ROUNDS && w->err == 0; i++) {
		w->err = rmem_fetch_add(w->rm, counter, 1, NULL);
		if (w->err == 0)
			w->err = add_to_note(w);
	}
	if (w->err)
		fprintf(stderr, "03-atomics: %s\n", rmem_errmsg());
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker workers[THREADS] = { 0 };
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	struct shared shared = { 0 };
	struct rmem *rm = NULL;
	rmem_addr_t addr = 0;
	int started = 0;

	if (rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm) ||
		rmem_alloc(rm, sizeof(shared), &zeroed, &addr))
		fprintf(stderr, "03-atomics: %s\n", rmem_errmsg());
	for (; addr && started < THREADS; started++) {
		struct worker *w = &workers[started];

		*w = (struct worker){ .rm = rm, .shared = addr, .id = (uint64_t)started + 1 };
		if (pthread_create(&w->thread, NULL, work, w))
			break;
	}
	for (int i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	if (addr && rmem_read(rm, &shared, addr, sizeof(shared)) == 0)
		printf("counter %" PRIu64 ", note %" PRIu64 "\n", shared.counter, shared.note);
	rmem_free(rm, addr);
	rmem_close(rm);
	return shared.counter != THREADS * ROUNDS || shared.note != THREADS * ROUNDS;
}
