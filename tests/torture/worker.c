/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/torture/bound.h"
#include "tests/torture/client.h"
#include "tests/torture/heart.h"
#include "tests/torture/shelf.h"
#include "tests/torture/tag.h"

#define CALM_MS 45000 /* within which everything must come back when all is calm */
#define PIECES 4

static void pause_after(int rc)
{
	if (rc)
		heart_pause(10); /* who was refused need not ask again at once */
}

struct block *worker_some(struct worker *w)
{
	unsigned at = (unsigned)random_below(&w->seed, WORKER_BLOCKS);

	for (unsigned i = 0; i < WORKER_BLOCKS; i++) {
		struct block *b = w->blocks[(at + i) % WORKER_BLOCKS];

		if (b && b->state != BLOCK_FREED)
			return b;
	}
	return NULL;
}

void worker_range(
	struct worker *w, const struct block *b, unsigned max, unsigned *unit, unsigned *n)
{
	unsigned words = b->units - BLOCK_HEAD;

	max = max < words ? max : words;
	if (random_below(&w->seed, 3))
		max = max < 16 ? max : 16;
	*n = 1 + (unsigned)random_below(&w->seed, max);
	*unit = BLOCK_HEAD + (unsigned)random_below(&w->seed, words - *n + 1);
}

/* ---- allocating and freeing ---- */

static uint64_t some_size(struct worker *w)
{
	static const uint64_t most[] = { 256, 1024, 2048, 4096, 4096, 4096, 16384, 32768, 65536,
		BLOCK_MAX_BYTES };
	uint64_t max = most[random_below(&w->seed, sizeof(most) / sizeof(most[0]))];

	return 8 * (BLOCK_HEAD + 4 + random_below(&w->seed, max / 8 - BLOCK_HEAD - 4 + 1));
}

static void see_zero(struct worker *w, struct block *b)
{
	if (worker_read(w, b, 0, b->units, "fresh") == 0)
		board_event(EVENT_FRESH_BYTES, b->bytes);
}

/* Objects of slabs, and blocks; those of more than 16 KiB are blocks in any case. */
static const struct rmem_alloc_attr kinds[] = {
	{ .size = sizeof(kinds[0]), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO },
	{ .size = sizeof(kinds[0]), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ISOLATED },
};

struct block *worker_alloc(struct worker *w, uint64_t bytes)
{
	const struct rmem_alloc_attr *attr = &kinds[random_below(&w->seed, 4) == 0];
	struct board_slot *slot = NULL;
	struct block *b, **place = NULL;
	rmem_addr_t addr = 0;
	unsigned gen;
	int rc;

	for (unsigned i = 0; i < WORKER_BLOCKS && !place; i++)
		if (!w->blocks[i])
			place = &w->blocks[i];
	if (!place)
		return NULL;
	rc = TIMED(CALL_ALLOC, bound_control(), rmem_alloc(me.rm, bytes, attr, &addr));
	if (rc) {
		if (rc != -ENOSPC && rc != -ETIMEDOUT && rc != -ECONNRESET)
			board_complain(EVENT_WRONG_RESULT, 1, 0, 0,
				"WRONG RESULT: alloc returned %d (%s)", rc, rmem_errmsg());
		pause_after(rc);
		return NULL;
	}
	gen = atomic_fetch_add(&me.gen, 1) + 1;
	board_note("alloc", me.owner, gen, 0, addr, bytes, 0);
	if (bytes <= BOARD_UNITS * 8UL && random_below(&w->seed, 2))
		slot = shelf_claim();
	b = block_create(addr, bytes, gen, slot);
	if (!b)
		abort();
	*place = b;
	claims_add(&b->claim);
	see_zero(w, b);
	if (slot)
		shelf_publish(b);
	return b;
}

void worker_drop(struct worker *w, struct block *b)
{
	if (b->in_flight)
		return;
	for (unsigned i = 0; i < WORKER_BLOCKS; i++)
		if (w->blocks[i] == b)
			w->blocks[i] = NULL;
	block_destroy(b);
}

/* What rmem_free() says is right for what the block was; true: it is gone. */
static bool freed(struct block *b, int rc)
{
	bool unsure = rc == -ETIMEDOUT || rc == -ECONNRESET;
	bool right = unsure || rc == -ESTALE || (rc == 0 && b->state != BLOCK_LOST) ||
		     (rc == -EINVAL && b->state == BLOCK_LIMBO);

	if (!right)
		board_complain(EVENT_WRONG_RESULT, 1, b->addr, b->bytes,
			"WRONG RESULT: free of owner %u gen %u at 0x%" PRIx64
			" (state %d) returned %d (%s)",
			me.owner, b->gen, b->addr, b->state, rc, rmem_errmsg());
	if (rc == -ESTALE && b->state == BLOCK_LIVE)
		board_event(EVENT_LOST, 1);
	return !unsure;
}

bool worker_free(struct block *b)
{
	int rc;

	shelf_withdraw(b);
	if (b->in_flight)
		board_event(EVENT_FREES_IN_FLIGHT, 1);
	claims_ending(&b->claim);
	board_note("free begins", me.owner, b->gen, b->seq, b->addr, b->bytes, 0);
	rc = TIMED(CALL_FREE, bound_control(), rmem_free(me.rm, b->addr));
	board_note("free", me.owner, b->gen, b->seq, b->addr, b->bytes, rc);
	if (freed(b, rc)) {
		claims_remove(&b->claim);
		b->state = BLOCK_FREED;
		return true;
	}
	board_event(EVENT_FREE_UNSURE, 1);
	claims_resume(&b->claim);
	if (b->state == BLOCK_LIVE)
		b->state = BLOCK_LIMBO;
	pause_after(rc);
	return false;
}

static void free_some(struct worker *w)
{
	struct block *b = worker_some(w);

	if (b && worker_free(b))
		worker_drop(w, b);
}

/* ---- moving data ---- */

/* The words in pieces, which lie one after the other on both sides. */
static int cut(struct worker *w, uint64_t *words, rmem_addr_t addr, unsigned n, struct iovec *local,
	struct rmem_iovec *remote)
{
	unsigned done = 0;
	int i = 0;

	for (; done < n; i++) {
		unsigned len =
			i == PIECES - 1 ? n - done : 1 + (unsigned)random_below(&w->seed, n - done);

		local[i] = (struct iovec){ words + done, len * 8UL };
		remote[i] = (struct rmem_iovec){ addr + done * 8UL, len * 8UL };
		done += len;
	}
	return i;
}

int worker_read(struct worker *w, struct block *b, unsigned unit, unsigned n, const char *how)
{
	bool was_lost = b->state == BLOCK_LOST;
	rmem_addr_t addr = b->addr + unit * 8UL;
	struct rmem_iovec remote[PIECES];
	struct iovec local[PIECES];
	enum board_call call = random_below(&w->seed, 4) ? CALL_READ : CALL_READV;
	int rc, pieces;

	memset(w->words, 0xee, n * 8UL);
	if (call == CALL_READ) {
		rc = TIMED(call, bound_copy(), rmem_read(me.rm, w->words, addr, n * 8UL));
	} else {
		pieces = cut(w, w->words, addr, n, local, remote);
		rc = TIMED(call, bound_copy(), rmem_readv(me.rm, local, pieces, remote, pieces));
	}
	w->calls.done += rc == 0;
	if (rc == 0)
		block_check(b, unit, n, w->words, false, how);
	block_result(b, call, rc, was_lost);
	pause_after(rc);
	return rc;
}

static void write_some(struct worker *w, struct block *b)
{
	bool was_lost = b->state == BLOCK_LOST;
	struct rmem_iovec remote[PIECES];
	struct iovec local[PIECES];
	enum board_call call = random_below(&w->seed, 4) ? CALL_WRITE : CALL_WRITEV;
	unsigned unit, n, seq;
	rmem_addr_t addr;
	int rc, pieces;

	if (b->writes_in_flight || b->seq >= TAG_SEQUENCES || b->state == BLOCK_LIMBO)
		return;
	worker_range(w, b, b->units, &unit, &n);
	addr = b->addr + unit * 8UL;
	seq = block_start_write(b, unit, n, w->words);
	if (call == CALL_WRITE) {
		rc = TIMED(call, bound_copy(), rmem_write(me.rm, addr, w->words, n * 8UL));
	} else {
		pieces = cut(w, w->words, addr, n, local, remote);
		rc = TIMED(call, bound_copy(), rmem_writev(me.rm, local, pieces, remote, pieces));
	}
	board_note(board_call_name(call), me.owner, b->gen, seq, addr, n * 8UL, rc);
	queue_overtaken(w, b);
	block_end_write(b, unit, n, seq, &w->calls, rc);
	w->calls.done += rc == 0;
	block_result(b, call, rc, was_lost);
	pause_after(rc);
}

static void add_some(struct block *b)
{
	bool was_lost = b->state == BLOCK_LOST;
	uint64_t old = 0;
	uint32_t before;
	int rc;

	if (b->state == BLOCK_LIMBO)
		return;
	before = block_start_add(b);
	rc = TIMED(CALL_FETCH_ADD, bound_copy(), rmem_fetch_add(me.rm, b->addr, 1, &old));
	board_note("fetch_add", me.owner, b->gen, (unsigned)old, b->addr, 8, rc);
	block_end_add(b, rc, before, old);
	block_result(b, CALL_FETCH_ADD, rc, was_lost);
	pause_after(rc);
}

/* A swap that can never be done: nothing holds what it expects. */
static void swap_some(struct block *b)
{
	bool was_lost = b->state == BLOCK_LOST;
	uint32_t before = atomic_load(b->adds_done);
	uint64_t old = 0;
	int rc = TIMED(CALL_COMPARE_SWAP, bound_copy(),
		rmem_compare_swap(me.rm, b->addr, ~0ULL, tag_make(me.owner, b->gen, 0, 0), &old));

	if (rc == 0 && (old < before || old > atomic_load(b->adds_started)))
		board_complain(EVENT_WRONG_BYTES, 8, b->addr, 8,
			"WRONG BYTES: compare_swap on owner %u gen %u at 0x%" PRIx64
			" found %" PRIu64 ", expected %u to %u",
			me.owner, b->gen, b->addr, old, before, atomic_load(b->adds_started));
	block_result(b, rc == -EREMOTEIO ? CALL_FETCH_ADD : CALL_COMPARE_SWAP, rc, was_lost);
	pause_after(rc);
}

/* ---- what a thread does ---- */

static unsigned places(const struct worker *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKER_BLOCKS; i++)
		n += !w->blocks[i];
	return n;
}

static void step(struct worker *w)
{
	struct block *b = worker_some(w);
	unsigned chance = (unsigned)random_below(&w->seed, 100);
	unsigned unit, n;

	if (w->number == 0 && random_below(&w->seed, 4) == 0)
		shelf_step(w);
	if (!b || (chance < 8 && places(w) > WORKER_SPARE)) {
		worker_alloc(w, some_size(w));
	} else if (chance < 28) {
		write_some(w, b);
	} else if (chance < 50) {
		worker_range(w, b, b->units, &unit, &n);
		worker_read(w, b, unit, n, "read");
	} else if (chance < 56) {
		add_some(b);
	} else if (chance < 58) {
		swap_some(b);
	} else if (chance < 74) {
		queue_start(w, NULL, 1 + (unsigned)random_below(&w->seed, WORKER_DEPTH));
	} else if (chance < 84) {
		queue_reap(w, (int)random_below(&w->seed, 50));
	} else if (chance < 87) {
		queue_free_in_flight(w);
	} else if (chance < 92) {
		free_some(w);
	} else if (chance < 93 && w->nqueues < WORKER_QUEUES && w->q) {
		queue_end(w);
	}
}

/* Every block is read until it is known what it is, and given back. */
static bool settle(struct worker *w)
{
	int64_t limit = heart_now() + CALM_MS * 1000000LL;

	queue_drain(w);
	for (unsigned i = 0; i < WORKER_BLOCKS; i++) {
		while (w->blocks[i]) {
			struct block *b = w->blocks[i];

			if (b->state == BLOCK_FREED)
				return false; /* operations that were not reaped */
			if (b->state == BLOCK_LIVE &&
				worker_read(w, b, 0, b->units, "at the end") &&
				b->state == BLOCK_LIVE && heart_now() < limit)
				continue;
			if (worker_free(b))
				worker_drop(w, b);
			else if (heart_now() > limit)
				return false;
		}
	}
	return true;
}

void *worker_run(void *arg)
{
	struct worker *w = arg;

	if (w->number % 2 == 0 &&
		TIMED(CALL_BUF_ALLOC, BOUND_REGISTER_MS,
			rmem_buf_alloc(me.rm, BLOCK_MAX_BYTES, &w->registered)) == 0)
		w->words = w->registered;
	else
		w->words = malloc(BLOCK_MAX_BYTES);
	if (!w->words)
		abort();
	while (!atomic_load(&me.over) && !client_calm())
		step(w);
	shelf_leave(w);
	if ((client_calm() || !me.leaves) && !settle(w) && client_calm())
		board_complain(EVENT_STUCK, 1, 0, 0,
			"STUCK: thread %u of owner %u has not come back: %s", w->number, me.owner,
			rmem_errmsg());
	queue_end(w);
	heart_retire();
	return NULL;
}

void worker_forget(struct worker *w)
{
	for (unsigned i = 0; i < WORKER_BLOCKS; i++) {
		struct block *b = w->blocks[i];

		if (!b)
			continue;
		board_note("left", me.owner, b->gen, b->seq, b->addr, b->bytes, 0);
		if (b->state != BLOCK_FREED) {
			board_event(EVENT_LEAKED, 1);
			shelf_withdraw(b);
			claims_remove(&b->claim);
		}
		b->in_flight = 0;
		worker_drop(w, b);
	}
	if (w->registered) /* before the session is closed */
		TIMED(CALL_BUF_RELEASE, BOUND_REGISTER_MS, rmem_buf_release(me.rm, w->registered));
	else
		free(w->words);
	free(w->slab);
}
