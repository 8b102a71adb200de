/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scatter-gather of every shape against plain memory: thousands of random pairs of lists, by the calls that
 * wait and by queues with many operations outstanding. All bytes are compared, also those around.
 *
 * A list that passes the end of an allocation in one piece must be refused, and nothing sent. Where overlapping
 * pieces make it undefined which byte wins, it must be one of those.
 *
 * RMEM_SEED gives another seed; a failure prints the round it happened in.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rxe/shapes.h"
#include "tests/support/random.h"

#define WAITING_ROUNDS_ALL 2500
#define WAITING_ROUNDS 1000
#define BATCHES_ALL 60
#define BATCHES 24
#define QUEUE_DEPTH 64 /* less than a batch: it has to be reaped in between */
#define LOOK_EVERY 25  /* rounds, at all remote bytes */

/* ---- the models ---- */

typedef void run_fn(struct shapes *w, const struct shape *s, size_t local, size_t remote,
	size_t len, void *arg);

/* Every run of bytes that is contiguous on both sides, as offsets into the models. */
static void for_each_run(struct shapes *w, const struct shape *s, run_fn *run, void *arg)
{
	size_t ol = 0, or = 0, len;
	int l = 0, r = 0;

	for (size_t left = s->total; left; left -= len) {
		for (; ol == s->local[l].iov_len; ol = 0)
			l++;
		for (; or == s->remote[r].len; or = 0)
			r++;
		len = s->local[l].iov_len - ol;
		len = len < s->remote[r].len - or ? len : s->remote[r].len - or ;
		run(w, s, shapes_local_offset(w, s->local[l].iov_base) + ol,
			s->remote[r].base - w->remote + or, len, arg);
		ol += len;
		or += len;
	}
}

/* Do it in the models. */
static void copy_run(struct shapes *w, const struct shape *s, size_t local, size_t remote,
	size_t len, void *unused)
{
	(void)unused;
	if (s->write)
		memcpy(w->remote_model + remote, w->local_model + local, len);
	else
		memcpy(w->local_model + local, w->remote_model + remote, len);
}

/* What each byte of the destination may be: nothing new (0), one of several (1), and is one (2). */
struct candidates {
	const uint8_t *is;
	uint8_t *state;
};

static void judge_run(
	struct shapes *w, const struct shape *s, size_t local, size_t remote, size_t len, void *arg)
{
	const uint8_t *from = s->write ? w->local_model + local : w->remote_model + remote;
	size_t to = s->write ? remote : local;
	struct candidates *c = arg;

	for (size_t i = 0; i < len; i++)
		if (c->state[to + i] != 2)
			c->state[to + i] = c->is[to + i] == from[i] ? 2 : 1;
}

/* The destination is as it must be; the model takes over what was undefined. */
static void judge(struct shapes *w, const struct shape *s, const uint8_t *is)
{
	size_t bytes = s->write ? SHAPES_REMOTE_BYTES : SHAPES_LOCAL_BYTES;
	uint8_t *model = s->write ? w->remote_model : w->local_model;
	struct candidates c = { .is = is, .state = lib_zeroes(bytes) };

	for_each_run(w, s, judge_run, &c);
	for (size_t i = 0; i < bytes; i++) {
		if (c.state[i] == 1 || (c.state[i] == 0 && is[i] != model[i]))
			fail_msg("round %" PRIu64 ": byte %zu %s is %02x, which is %s", w->round, i,
				s->write ? "there" : "here", is[i],
				c.state[i] ? "none of the candidates" : "what nobody wrote");
		model[i] = is[i];
	}
	free(c.state);
}

static const uint8_t *all_local(struct shapes *w)
{
	static uint8_t bytes[SHAPES_LOCAL_BYTES];

	for (size_t i = 0; i < SHAPES_AREAS; i++)
		memcpy(bytes + i * SHAPES_AREA_BYTES, w->areas[i], SHAPES_AREA_BYTES);
	return bytes;
}

static const uint8_t *all_remote(struct shapes *w)
{
	for (size_t i = 0; i < SHAPES_BLOCKS; i++)
		lib_succeed(rmem_read(w->rm, w->scratch + i * SHAPES_BLOCK_BYTES,
			w->remote + i * SHAPES_BLOCK_BYTES, SHAPES_BLOCK_BYTES));
	w->moved += SHAPES_REMOTE_BYTES;
	return w->scratch;
}

static void compare(const struct shapes *w, const char *what, const uint8_t *is,
	const uint8_t *model, size_t bytes)
{
	for (size_t i = 0; memcmp(is + i, model + i, bytes - i) != 0; i++)
		if (is[i] != model[i])
			fail_msg("round %" PRIu64 ": %s byte %zu is %02x instead of %02x", w->round,
				what, i, is[i], model[i]);
}

static void compare_local(struct shapes *w)
{
	for (size_t i = 0; i < SHAPES_AREAS; i++)
		compare(w, "local", w->areas[i], w->local_model + i * SHAPES_AREA_BYTES,
			SHAPES_AREA_BYTES);
}

/* ---- wrong shapes ---- */

/* One of its remote pieces does not stay inside one allocation. False: it has no bytes. */
static bool spoil(struct shapes *w, struct shape *s)
{
	struct rmem_iovec *piece;
	int i;

	if (!s->total)
		return false;
	i = (int)random_below(&w->seed, (uint64_t)s->nremote);
	while (!s->remote[i].len)
		i = (i + 1) % s->nremote;
	piece = &s->remote[i];
	switch (random_below(&w->seed, piece->len > 1 ? 4 : 3)) {
	case 0:
		piece->base =
			w->remote + SHAPES_REMOTE_BYTES + random_below(&w->seed, 4) * 1000000007;
		break;
	case 1:
		piece->base = 0;
		break;
	case 2:
		piece->base = UINT64_MAX - piece->len + 1 - random_below(&w->seed, 2);
		break;
	default: /* both allocations are ours: still */
		piece->base = w->remote +
			      (1 + random_below(&w->seed, SHAPES_BLOCKS - 1)) * SHAPES_BLOCK_BYTES -
			      1 - random_below(&w->seed, piece->len - 1);
	}
	return true;
}

static int run_shape(struct shapes *w, const struct shape *s)
{
	/* Now and then by the calls for one piece. */
	if (s->nlocal == 1 && s->nremote == 1)
		return s->write ? rmem_write(
					  w->rm, s->remote[0].base, s->local[0].iov_base, s->total)
				: rmem_read(
					  w->rm, s->local[0].iov_base, s->remote[0].base, s->total);
	return s->write ? rmem_writev(w->rm, s->local, s->nlocal, s->remote, s->nremote)
			: rmem_readv(w->rm, s->local, s->nlocal, s->remote, s->nremote);
}

static void check_refused(struct shapes *w, struct shape *s)
{
	struct rmem_stats before = RMEM_STATS_INIT, after = RMEM_STATS_INIT;

	lib_succeed(rmem_stats(w->rm, &before));
	lib_expect(run_shape(w, s), -EFAULT, "0x");
	lib_succeed(rmem_stats(w->rm, &after));
	assert_memory_equal(&before, &after, sizeof(before)); /* nothing was sent */
	compare_local(w);
}

/* ---- calls that wait ---- */

static void one_round(struct shapes *w)
{
	struct shape *s = &w->shapes[0];
	bool overlaps = random_below(&w->seed, 6) == 0;

	shapes_fresh_local(w);
	shapes_make(w, s, SHAPES_TOTAL_MAX, overlaps);
	if (random_below(&w->seed, 10) == 0 && spoil(w, s)) {
		check_refused(w, s);
		return;
	}
	lib_succeed(run_shape(w, s));
	w->moved += s->total;
	if (overlaps) {
		judge(w, s, s->write ? all_remote(w) : all_local(w));
	} else {
		for_each_run(w, s, copy_run, NULL);
	}
	compare_local(w);
}

/* All ways were taken, each byte has travelled once, and requests were gathered in lists. */
static void check_stats(struct shapes *w, const struct rmem_stats *d)
{
	uint64_t requests = d->in_place_requests + d->inline_requests + d->slot_requests +
			    d->registered_requests;

	assert_int_equal(lib_bytes(d), w->moved);
	assert_true(d->in_place_bytes && d->inline_bytes && d->slot_bytes && d->registered_bytes);
	assert_true(d->doorbells < requests);
	printf("%" PRIu64 " bytes; requests: %" PRIu64 " in place, %" PRIu64 " inline, %" PRIu64
	       " through slots, %" PRIu64 " registered; %" PRIu64 " doorbells\n",
		w->moved, d->in_place_requests, d->inline_requests, d->slot_requests,
		d->registered_requests, d->doorbells);
}

static void test_waiting(void **state)
{
	const unsigned rounds = rig_rounds(WAITING_ROUNDS_ALL, WAITING_ROUNDS);
	struct rmem_stats last = RMEM_STATS_INIT, d;
	struct rig *r = *state;
	uint64_t seed = lib_seed(2026);
	struct shapes w;

	rig_start(r, NULL);
	shapes_create(&w, lib_open(r->server, 0), seed);
	for (w.round = 1; w.round <= rounds; w.round++) {
		w.seed = seed + w.round; /* each round by itself, whatever those before did */
		one_round(&w);
		if (w.round % LOOK_EVERY == 0)
			compare(&w, "remote", all_remote(&w), w.remote_model, SHAPES_REMOTE_BYTES);
	}
	d = lib_news(w.rm, &last);
	check_stats(&w, &d);
	shapes_destroy(&w);
	lib_succeed(rmem_close(w.rm));
	rig_stop(r, false);
}

/* ---- queues ---- */

/* What operations of a queue have done to each remote byte, and may not have ended. */
#define WRITTEN 1
#define READ 2

struct batch {
	struct shapes *w;
	struct rmem_queue *q;
	uint8_t pending[SHAPES_REMOTE_BYTES];
	uint64_t started, reaped; /* tags */
	uint64_t fences, waits, refusals;
	bool again; /* a conflict with a write: only reaping brings order */
	bool fence; /* ... with a read */
};

static void find_conflict(
	struct shapes *w, const struct shape *s, size_t local, size_t remote, size_t len, void *arg)
{
	struct batch *b = arg;

	(void)w;
	(void)local;
	for (size_t i = 0; i < len && s->write; i++) {
		b->again |= b->pending[remote + i] & WRITTEN;
		b->fence |= (b->pending[remote + i] & READ) != 0;
	}
}

static void note_pending(
	struct shapes *w, const struct shape *s, size_t local, size_t remote, size_t len, void *arg)
{
	struct batch *b = arg;

	(void)w;
	(void)local;
	for (size_t i = 0; i < len; i++)
		b->pending[remote + i] |= s->write ? WRITTEN : READ;
}

/* Reap until so many at most are outstanding: all go well, in the order they were started. */
static void reap_to(struct batch *b, uint64_t outstanding)
{
	struct rmem_completion done[40];

	while (b->started - b->reaped > outstanding) {
		int n = rmem_reap(b->q, done, 1 + (int)random_below(&b->w->seed, 40), -1);

		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			lib_succeed(done[i].status);
			assert_true(done[i].tag == b->reaped++);
		}
	}
}

static void bring_order(struct batch *b, const struct shape *s)
{
	b->again = b->fence = false;
	for_each_run(b->w, s, find_conflict, b);
	if (b->again) {
		reap_to(b, 0);
		memset(b->pending, 0, sizeof(b->pending));
		b->waits++;
	} else if (b->fence) {
		lib_succeed(rmem_fence(b->q));
		for (size_t i = 0; i < SHAPES_REMOTE_BYTES; i++)
			b->pending[i] &= (uint8_t)~READ;
		b->fences++;
	}
}

static int start_shape(struct batch *b, const struct shape *s)
{
	if (s->nlocal == 1 && s->nremote == 1)
		return s->write ? rmem_start_write(b->q, s->remote[0].base, s->local[0].iov_base,
					  s->total, b->started)
				: rmem_start_read(b->q, s->local[0].iov_base, s->remote[0].base,
					  s->total, b->started);
	return s->write ? rmem_start_writev(
				  b->q, s->local, s->nlocal, s->remote, s->nremote, b->started)
			: rmem_start_readv(
				  b->q, s->local, s->nlocal, s->remote, s->nremote, b->started);
}

static void start_one(struct batch *b, struct shape *s)
{
	struct shapes *w = b->w;

	shapes_make(w, s, random_below(&w->seed, 8) ? 2000 : SHAPES_TOTAL_MAX / 2, false);
	if (random_below(&w->seed, 20) == 0 && spoil(w, s)) {
		lib_expect(start_shape(b, s), -EFAULT, "0x");
		b->refusals++;
		return;
	}
	bring_order(b, s);
	if (b->started - b->reaped == QUEUE_DEPTH) {
		lib_expect(start_shape(b, s), -EAGAIN, "have been started");
		reap_to(b, QUEUE_DEPTH - 1 - random_below(&w->seed, QUEUE_DEPTH / 2));
	}
	lib_succeed(start_shape(b, s));
	b->started++;
	w->moved += s->total;
	for_each_run(w, s, copy_run, NULL);
	for_each_run(w, s, note_pending, b);
	if (random_below(&w->seed, 10) == 0)
		lib_succeed(rmem_submit(b->q));
}

static void test_queue(void **state)
{
	const unsigned batches = rig_rounds(BATCHES_ALL, BATCHES);
	struct rmem_stats last = RMEM_STATS_INIT, d;
	static struct batch b;
	struct rig *r = *state;
	uint64_t seed = lib_seed(2027);
	struct shapes w;

	rig_start(r, NULL);
	shapes_create(&w, lib_open(r->server, 0), seed);
	b = (struct batch){ .w = &w, .q = lib_queue(w.rm, QUEUE_DEPTH) };
	for (w.round = 1; w.round <= batches; w.round++) {
		w.seed = seed + w.round;
		shapes_fresh_local(&w);
		memset(b.pending, 0, sizeof(b.pending));
		for (int i = 0; i < SHAPES_BATCH_MAX; i++)
			start_one(&b, &w.shapes[i]);
		reap_to(&b, 0);
		compare_local(&w);
		compare(&w, "remote", all_remote(&w), w.remote_model, SHAPES_REMOTE_BYTES);
	}
	d = lib_news(w.rm, &last);
	check_stats(&w, &d);
	printf("%" PRIu64 " operations, %" PRIu64 " fences, %" PRIu64 " waits, %" PRIu64
	       " refused\n",
		b.started, b.fences, b.waits, b.refusals);
	assert_true(b.fences && b.waits && b.refusals);
	rmem_queue_destroy(b.q);
	shapes_destroy(&w);
	lib_succeed(rmem_close(w.rm));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_waiting),
		RIG_TEST(test_queue),
	};

	return rig_main(RIG_PORT_SHAPES, tests, sizeof(tests) / sizeof(tests[0]));
}
