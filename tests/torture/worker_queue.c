/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/torture/bound.h"
#include "tests/torture/client.h"
#include "tests/torture/heart.h"
#include "tests/torture/tag.h"
#include "tests/torture/worker.h"

#define OP_WORDS 2048 /* of 8 bytes: the longest operation */
#define BATCH 16
#define REAP_MS 2000

static struct lane *lane(struct worker *w)
{
	return &w->lanes[w->nqueues - 1];
}

/* A queue, if there is none; false: none can be had. */
static bool have(struct worker *w)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	int rc;

	if (w->q)
		return true;
	if (!w->slab)
		w->slab = malloc(WORKER_DEPTH * OP_WORDS * 8UL);
	if (!w->slab || w->nqueues == WORKER_QUEUES)
		return false;
	attr.depth = WORKER_DEPTH;
	rc = TIMED(CALL_QUEUE_CREATE, bound_come_back(), rmem_queue_create(me.rm, &attr, &w->q));
	if (rc) {
		w->q = NULL;
		heart_pause(10);
		return false;
	}
	w->nqueues++;
	w->started = w->reaped = 0;
	return true;
}

static int start(struct worker *w, struct op *op)
{
	struct block *b = op->block;
	rmem_addr_t addr = b->addr + op->unit * 8UL;

	switch (op->kind) {
	case OP_WRITE:
		op->seq = block_start_write(b, op->unit, op->n, op->words);
		return TIMED(CALL_START_WRITE, bound_start(),
			rmem_start_write(w->q, addr, op->words, op->n * 8UL, w->started));
	case OP_READ:
		memset(op->words, 0xee, op->n * 8UL);
		return TIMED(CALL_START_READ, bound_start(),
			rmem_start_read(w->q, op->words, addr, op->n * 8UL, w->started));
	default:
		op->done_before = block_start_add(b);
		return TIMED(CALL_START_FETCH_ADD, bound_start(),
			rmem_start_fetch_add(w->q, b->addr, 1, &op->old, w->started));
	}
}

/* One operation on the block. 0 or why it could not be started. */
static int start_one(struct worker *w, struct block *b, enum op_kind kind)
{
	static const enum board_call calls[] = { CALL_START_READ, CALL_START_WRITE,
		CALL_START_FETCH_ADD };
	struct op *op = &w->ops[w->started % WORKER_DEPTH];
	int rc;

	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->block = b;
	op->was_lost = b->state == BLOCK_LOST;
	op->words = w->slab + (w->started % WORKER_DEPTH) * OP_WORDS;
	worker_range(w, b, OP_WORDS, &op->unit, &op->n);
	rc = start(w, op);
	if (rc) {
		if (kind == OP_ADD)
			block_end_add(b, rc == -EREMOTEIO ? -EIO : rc, 0, 0);
		block_result(b, calls[kind], rc, op->was_lost);
		return rc;
	}
	b->in_flight++;
	b->writes_in_flight += kind == OP_WRITE;
	w->started++;
	return 0;
}

void queue_start(struct worker *w, struct block *only, unsigned count)
{
	int rc = 0;

	if (!have(w))
		return;
	for (unsigned i = 0; i < count && rc == 0 && w->started - w->reaped < WORKER_DEPTH; i++) {
		struct block *b = only ? only : worker_some(w);
		unsigned chance = (unsigned)random_below(&w->seed, 10);
		enum op_kind kind = chance < 5 || only ? OP_WRITE : chance < 9 ? OP_READ : OP_ADD;

		if (!b || b->seq >= TAG_SEQUENCES || b->state == BLOCK_LIMBO)
			break;
		rc = start_one(w, b, kind);
		if (random_below(&w->seed, 20) == 0)
			TIMED(CALL_FENCE, 0, rmem_fence(w->q));
	}
	if (rc)
		heart_pause(10);
	if (random_below(&w->seed, 2))
		TIMED(CALL_SUBMIT, 0, rmem_submit(w->q));
}

static void finish(struct worker *w, struct op *op, int rc)
{
	static const enum board_call calls[] = { CALL_QUEUED_READ, CALL_QUEUED_WRITE,
		CALL_QUEUED_ADD };
	struct block *b = op->block;

	board_result(calls[op->kind], rc);
	b->in_flight--;
	b->writes_in_flight -= op->kind == OP_WRITE;
	if (op->kind == OP_WRITE) {
		board_note(calls[op->kind] == CALL_QUEUED_WRITE ? "queued write" : "", me.owner,
			b->gen, op->seq, b->addr + op->unit * 8UL, op->n * 8UL, rc);
		block_end_write(b, op->unit, op->n, op->seq, lane(w), rc);
	} else if (op->kind == OP_ADD) {
		block_end_add(b, rc, op->done_before, op->old);
	} else if (rc == 0) {
		block_check(b, op->unit, op->n, op->words, op->overtaken, "queued read");
	}
	lane(w)->done += rc == 0;
	block_result(b, calls[op->kind], rc, op->was_lost);
	if (b->state == BLOCK_FREED)
		worker_drop(w, b);
}

void queue_overtaken(struct worker *w, const struct block *b)
{
	for (uint64_t i = w->reaped; i < w->started; i++)
		if (w->ops[i % WORKER_DEPTH].block == b)
			w->ops[i % WORKER_DEPTH].overtaken = true;
}

void queue_reap(struct worker *w, int timeout_ms)
{
	struct rmem_completion c[BATCH];
	int n;

	if (!w->q || w->started == w->reaped)
		return;
	n = TIMED(CALL_REAP, bound_reap(timeout_ms), rmem_reap(w->q, c, BATCH, timeout_ms));
	if (n < 0)
		board_complain(EVENT_WRONG_RESULT, 1, 0, 0, "WRONG RESULT: reap returned %d (%s)",
			n, rmem_errmsg());
	for (int i = 0; i < n; i++) {
		if (c[i].tag != w->reaped) {
			board_complain(EVENT_WRONG_RESULT, 1, 0, 0,
				"WRONG RESULT: reaped operation %llu, the next one is %llu of %llu",
				(unsigned long long)c[i].tag, (unsigned long long)w->reaped,
				(unsigned long long)w->started);
			abort();
		}
		finish(w, &w->ops[w->reaped++ % WORKER_DEPTH], c[i].status);
	}
}

void queue_drain(struct worker *w)
{
	int64_t limit = heart_now() + 60000000000LL;

	while (w->q && w->started != w->reaped && heart_now() < limit)
		queue_reap(w, REAP_MS);
	if (w->q && w->started != w->reaped)
		board_complain(EVENT_STUCK, 1, 0, 0,
			"STUCK: %llu operations of a queue were not reaped in 60 s: %s",
			(unsigned long long)(w->started - w->reaped), rmem_errmsg());
}

void queue_free_in_flight(struct worker *w)
{
	uint64_t bytes = 4096 << random_below(&w->seed, 7);
	struct block *old;

	if (!have(w))
		return;
	queue_drain(w);
	old = worker_alloc(w, bytes);
	if (!old)
		return;
	queue_start(w, old, WORKER_DEPTH);
	TIMED(CALL_SUBMIT, 0, rmem_submit(w->q));
	if (!worker_free(old))
		return;
	worker_drop(w, old); /* only if nothing is in flight */
	/* The address is lent again when the block is wiped: until then another one is. */
	for (int i = 0; i < 3; i++)
		worker_alloc(w, bytes);
	queue_drain(w);
	for (int i = 0; i < WORKER_BLOCKS; i++) {
		struct block *b = w->blocks[i];

		if (b && b->state == BLOCK_LIVE && b->seq == 0)
			worker_read(
				w, b, 0, b->units, "after what was in flight to its predecessor");
	}
}

void queue_end(struct worker *w)
{
	if (!w->q)
		return;
	board_event(EVENT_QUEUES_CUT, w->started != w->reaped);
	TIMED(CALL_QUEUE_DESTROY, bound_copy(), (rmem_queue_destroy(w->q), 0));
	w->q = NULL;
	for (; w->reaped < w->started; w->reaped++) {
		struct op *op = &w->ops[w->reaped % WORKER_DEPTH];

		/* It is over, but nobody knows how. */
		op->block->in_flight--;
		op->block->writes_in_flight -= op->kind == OP_WRITE;
		op->block->haunted |= op->kind == OP_WRITE;
		if (op->block->state == BLOCK_FREED)
			worker_drop(w, op->block);
	}
}
