/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/reach.h"

#include <errno.h>
#include <stdlib.h>

/*
 * A block's word. Two bits say how references lead to it for certain, two how if unread memory refers to everything that it may
 * refer to: REACHABLE implies POSSIBLE, so a further reference adds bits and removes none. The value is a link of the
 * stack while the block is on it, else the sum of a definite block: all blocks are disjoint, so it is below 2^57.
 */
#define POSSIBLE 1U
#define REACHABLE 3U
#define MOST_SHIFT 2
#define BOTH(level) ((level) | (level) << MOST_SHIFT)
#define LEVELS BOTH(REACHABLE)
#define PENDING (1U << 4) /* to be visited: soon, or on the stack */
#define INDIRECT (1U << 5)
#define HELD (1U << 6) /* from outside of all blocks; the sweep has not come to it */
#define VALUE_SHIFT 7
#define FLAGS ((1U << VALUE_SHIFT) - 1)

#define NO_BLOCK UINT32_MAX

/*
 * Nearly every look at a block misses the caches. So the next few that are visited wait in a queue, while what they
 * need is fetched: their references when a block has come half the way, the words of the blocks they refer to when it is
 * next but one.
 */
#define SOON 16U
#define FETCH_TARGETS 8U
#define FETCH_WORDS 2U
#define WORDS_FETCHED 8 /* of a block with many references, so many */

enum phase { MARK, GATHER, DONE };

struct reach {
	const struct reach_blocks *blocks;
	const struct reach_edges *parts;
	uint32_t nparts;
	uint32_t part; /* of the last block that was visited */
	uint64_t *words;
	enum phase phase;
	uint32_t next;       /* block of the sweep */
	uint32_t soon[SOON]; /* a ring */
	uint32_t soon_at, nsoon;
	uint32_t top;                    /* of the stack */
	const reach_target *at, *at_end; /* references of the block that is being visited */
	uint32_t levels;                 /* of that block */
	uint32_t leader;                 /* GATHER: whose walk this is */
	uint64_t sum;                    /* of its walk */
};

static bool parts_are_valid(
	const struct reach_blocks *blocks, const struct reach_edges *parts, uint32_t nparts)
{
	uint32_t end = 0;

	for (uint32_t i = 0; i < nparts; i++) {
		if (parts[i].first < end || parts[i].first > blocks->n ||
			parts[i].n > blocks->n - parts[i].first)
			return false;
		end = parts[i].first + parts[i].n;
	}
	return true;
}

int reach_begin(const struct reach_blocks *blocks, const struct reach_edges *parts, uint32_t nparts,
	struct reach **out)
{
	struct reach *r;

	if (!parts_are_valid(blocks, parts, nparts))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->words = calloc((size_t)blocks->n + 1, sizeof(*r->words));
	if (!r->words) {
		free(r);
		return -ENOMEM;
	}
	r->blocks = blocks;
	r->parts = parts;
	r->nparts = nparts;
	r->top = r->leader = NO_BLOCK;
	*out = r;
	return 0;
}

void reach_end(struct reach *r)
{
	if (!r)
		return;
	free(r->words);
	free(r);
}

void reach_hold(struct reach *r, uint32_t block, enum reach_hold how)
{
	static const unsigned levels[] = {
		[REACH_MAYBE] = REACHABLE << MOST_SHIFT,
		[REACH_INSIDE] = BOTH(POSSIBLE),
		[REACH_START] = BOTH(REACHABLE),
	};

	r->words[block] |= levels[how] | HELD;
}

/* ---- references of a block ---- */

/* The part that has a block; nparts: none. */
static uint32_t part_of(const struct reach *r, uint32_t block)
{
	uint32_t low = 0, high = r->nparts;

	while (low < high) {
		const uint32_t mid = low + (high - low) / 2;

		if (block < r->parts[mid].first)
			high = mid;
		else if (block - r->parts[mid].first >= r->parts[mid].n)
			low = mid + 1;
		else
			return mid;
	}
	return r->nparts;
}

static bool has_part(struct reach *r, uint32_t block)
{
	const struct reach_edges *e = &r->parts[r->part];

	if (r->part >= r->nparts || block < e->first || block - e->first >= e->n)
		r->part = part_of(r, block);
	return r->part < r->nparts;
}

static const reach_target *references_of(
	struct reach *r, uint32_t block, const reach_target **out_end)
{
	*out_end = NULL;
	return has_part(r, block) ? reach_edges_of(&r->parts[r->part], block, out_end) : NULL;
}

/* ---- blocks to be visited ---- */

static void put_soon(struct reach *r, uint32_t block)
{
	r->soon[(r->soon_at + r->nsoon++) % SOON] = block;
	if (has_part(r, block))
		__builtin_prefetch(r->parts[r->part].ends + (block - r->parts[r->part].first));
	if (r->phase == GATHER)
		__builtin_prefetch(&r->blocks->blocks[block]);
}

static void push(struct reach *r, uint32_t block)
{
	r->words[block] |= PENDING;
	if (r->nsoon < SOON) {
		put_soon(r, block);
		return;
	}
	r->words[block] = (r->words[block] & FLAGS) | (uint64_t)r->top << VALUE_SHIFT;
	r->top = block;
}

static void fetch(struct reach *r)
{
	const reach_target *at, *end;

	if (r->nsoon > FETCH_TARGETS)
		__builtin_prefetch(
			references_of(r, r->soon[(r->soon_at + FETCH_TARGETS) % SOON], &end));
	if (r->nsoon <= FETCH_WORDS)
		return;
	at = references_of(r, r->soon[(r->soon_at + FETCH_WORDS) % SOON], &end);
	for (int i = 0; i < WORDS_FETCHED && at < end; i++, at++)
		__builtin_prefetch(&r->words[reach_target_block(*at)]);
}

/* There is one. */
static uint32_t take_next(struct reach *r)
{
	const uint32_t block = r->soon[r->soon_at];
	const uint32_t above = r->top;

	r->soon_at = (r->soon_at + 1) % SOON;
	r->nsoon--;
	if (above != NO_BLOCK) {
		r->top = (uint32_t)(r->words[above] >> VALUE_SHIFT);
		put_soon(r, above);
	}
	fetch(r);
	return block;
}

static void visit(struct reach *r, uint32_t block)
{
	r->words[block] &= FLAGS & ~PENDING;
	r->levels = r->words[block] & LEVELS;
	r->at = references_of(r, block, &r->at_end);
	if (r->leader != NO_BLOCK && block != r->leader)
		r->sum += r->blocks->blocks[block].bytes;
}

/* ---- following references ---- */

/* What leads to the visited block leads on, but no better than to the inside if the reference is to the inside. */
static void mark(struct reach *r, const reach_target *end)
{
	for (; r->at < end; r->at++) {
		const uint32_t to = reach_target_block(*r->at);
		const uint32_t adds =
			reach_target_inside(*r->at) ? r->levels & BOTH(POSSIBLE) : r->levels;
		const uint64_t before = r->words[to];

		if ((adds & ~before) == 0)
			continue;
		r->words[to] |= adds;
		if (!(before & (PENDING | HELD)))
			push(r, to);
	}
}

static void gather(struct reach *r, const reach_target *end)
{
	for (; r->at < end; r->at++) {
		const uint32_t to = reach_target_block(*r->at);

		if ((r->words[to] & (LEVELS | INDIRECT)) || to == r->leader)
			continue;
		r->sum += r->words[to] >> VALUE_SHIFT; /* its own bytes: visit() */
		r->words[to] |= INDIRECT;
		push(r, to);
	}
}

/* ---- the sweep: twice over all blocks, in address order ---- */

static void end_sweep(struct reach *r)
{
	r->next = 0;
	r->phase++;
}

static void sweep_one(struct reach *r)
{
	const uint32_t block = r->next++;

	if (r->phase == MARK) {
		const bool held = r->words[block] & HELD;

		r->words[block] &= ~(uint64_t)HELD;
		if (held)
			push(r, block);
	} else if (!(r->words[block] & (LEVELS | INDIRECT))) {
		r->leader = block;
		r->sum = 0;
		visit(r, block);
	}
}

static void end_walk(struct reach *r)
{
	if (r->leader == NO_BLOCK)
		return;
	r->words[r->leader] |= r->sum << VALUE_SHIFT;
	r->leader = NO_BLOCK;
}

/* The visited block has no more references: go on to the next. Marks do not depend on the order; walks do. */
static void step(struct reach *r)
{
	if (r->nsoon == SOON || (r->nsoon > 0 && (r->phase != MARK || r->next == r->blocks->n))) {
		visit(r, take_next(r));
		return;
	}
	end_walk(r);
	if (r->next < r->blocks->n)
		sweep_one(r);
	else
		end_sweep(r);
}

bool reach_run(struct reach *r, uint64_t steps)
{
	while (steps > 0 && r->phase != DONE) {
		const size_t left = (size_t)(r->at_end - r->at);
		const size_t n = left < steps ? left : steps;

		if (n == 0) {
			step(r);
			steps--;
			continue;
		}
		if (r->phase == MARK)
			mark(r, r->at + n);
		else
			gather(r, r->at + n);
		steps -= n;
	}
	return r->phase == DONE;
}

/* ---- the result ---- */

enum audit_kind reach_kind(const struct reach *r, uint32_t block)
{
	const uint64_t word = r->words[block];
	const unsigned least = word & REACHABLE, most = word >> MOST_SHIFT & REACHABLE;

	if (least != most)
		return AUDIT_LIMBO;
	if (least == REACHABLE)
		return AUDIT_REACHABLE;
	if (least == POSSIBLE)
		return AUDIT_POSSIBLE;
	return word & INDIRECT ? AUDIT_INDIRECT : AUDIT_DEFINITE;
}

uint64_t reach_indirect_bytes(const struct reach *r, uint32_t block)
{
	return r->words[block] >> VALUE_SHIFT;
}
