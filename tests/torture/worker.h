/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread of a client: it allocates, writes, reads, adds and frees, by calls that wait and by a queue, chosen by
 * chance, and keeps the books of its blocks.
 */
#ifndef RMEM_TESTS_TORTURE_WORKER_H
#define RMEM_TESTS_TORTURE_WORKER_H

#include <pthread.h>

#include "tests/torture/block.h"

#define WORKER_BLOCKS 9
#define WORKER_SPARE 3   /* places for queue_free_in_flight() */
#define WORKER_QUEUES 32 /* one after the other, in a session */
#define WORKER_DEPTH 48

enum op_kind {
	OP_READ,
	OP_WRITE,
	OP_ADD,
};

/* An operation of the queue, started and not reaped. Its tag is its number. */
struct op {
	enum op_kind kind;
	struct block *block;
	unsigned unit, n, seq;
	bool was_lost;
	bool overtaken; /* a read, by a write that waited */
	uint32_t done_before;
	uint64_t old;
	uint64_t *words; /* in the worker's slab */
};

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t seed;
	struct block *blocks[WORKER_BLOCKS]; /* NULL: none */
	uint64_t *words;                     /* for calls: as long as the longest block */
	void *registered;                    /* words, if from rmem_buf_alloc() */
	struct lane calls;
	/* the queue */
	struct rmem_queue *q;
	struct lane lanes[WORKER_QUEUES];
	unsigned nqueues;
	uint64_t *slab;
	struct op ops[WORKER_DEPTH];
	uint64_t started, reaped;
};

/* Work until the client is over, or all is calm: then everything is checked and freed. A thread's function. */
void *worker_run(void *worker);

/* What a thread that was joined has left. */
void worker_forget(struct worker *w);

/* Of calls: a fresh block in a free place, or NULL. */
struct block *worker_alloc(struct worker *w, uint64_t bytes);

/* Give a block back. True: it is gone, or nobody knows; false: it is still there. */
bool worker_free(struct block *b);

/* Take what is gone out of its place, unless operations are in flight. */
void worker_drop(struct worker *w, struct block *b);

/* Read words and check them. 0 or the call's error. */
int worker_read(struct worker *w, struct block *b, unsigned unit, unsigned n, const char *how);

/* By chance: one of the blocks, or NULL; words of a block for a write or read of max words at most. */
struct block *worker_some(struct worker *w);
void worker_range(
	struct worker *w, const struct block *b, unsigned max, unsigned *unit, unsigned *n);

/* ---- worker_queue.c ---- */

/* Start some operations, on the block or on any (NULL). */
void queue_start(struct worker *w, struct block *b, unsigned count);

/* Reap what is there; until nothing is outstanding. */
void queue_reap(struct worker *w, int timeout_ms);
void queue_drain(struct worker *w);

/* A write by a call has been done beside what the queue has outstanding. */
void queue_overtaken(struct worker *w, const struct block *b);

/* Free a block while writes to it are in flight, and see that nothing lands in what is allocated next. */
void queue_free_in_flight(struct worker *w);

/* The queue is destroyed, drained or not. */
void queue_end(struct worker *w);

#endif
