/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reachability against definitions written down a second time: sets of blocks as bit masks, closures by repetition, all
 * possible contents of unread memory tried one after the other. RMEM_SEED: the first graph; RMEM_TEST_GRAPHS: how many.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/audit/reach.h"
#include "tests/support/random.h"

#define BLOCKS_MAX 48U
#define WORDS_MAX 256U
#define MAYBES_MAX 3U
#define PARTS_MAX 4U
#define ALL UINT64_MAX

struct graph {
	uint32_t n, nwords, nheld, nparts;
	struct reach_block blocks[BLOCKS_MAX];
	struct reach_word words[WORDS_MAX]; /* in order of their blocks */
	struct {
		uint32_t block;
		enum reach_hold how;
	} held[2 * BLOCKS_MAX];
	uint32_t starts[PARTS_MAX + 1]; /* parts: [starts[i], starts[i + 1]) */
};

/* ---- random graphs ---- */

static void add_held(struct graph *g, uint32_t block, enum reach_hold how)
{
	g->held[g->nheld].block = block;
	g->held[g->nheld++].how = how;
}

/* Neighbours without a gap, some of no bytes, a few large. */
static void make_blocks(struct graph *g, uint64_t *seed)
{
	uint64_t at = random_below(seed, 2) ? 0 : 0x9e00000000000000ULL;

	for (uint32_t i = 0; i < g->n; i++) {
		struct reach_block *b = &g->blocks[i];

		at += random_below(seed, 3) ? 0 : random_below(seed, 100);
		b->addr = at;
		b->bytes = random_below(seed, 5) ? random_below(seed, 40)
						 : random_below(seed, 3) * 4096;
		at += b->bytes ? b->bytes : 1;
	}
}

/* To a start, an inside, a last byte, one past the end, or anywhere. */
static uint64_t random_word(const struct graph *g, uint64_t *seed)
{
	const struct reach_block *b = &g->blocks[random_below(seed, g->n)];

	switch (random_below(seed, 8)) {
	case 0:
		return b->addr + random_below(seed, b->bytes + 1);
	case 1:
		return b->addr + b->bytes;
	case 2:
		return b->addr + b->bytes - 1;
	case 3:
		return random_below(seed, 20) ? b->addr - 1 : random_u64(seed);
	default:
		return b->addr;
	}
}

static void make_words(struct graph *g, uint64_t *seed)
{
	const uint64_t degree = random_below(seed, 5); /* per block, on average */

	for (uint32_t i = 0; i < g->n; i++) {
		uint64_t n = random_below(seed, 2 * degree + 1);

		for (; n > 0 && g->nwords < WORDS_MAX; n--) {
			g->words[g->nwords].block = i;
			g->words[g->nwords++].word = random_word(g, seed);
		}
	}
}

static void make_graph(struct graph *g, uint64_t *seed)
{
	const uint64_t roots = random_below(seed, 4), maybes = random_below(seed, MAYBES_MAX + 1);

	memset(g, 0, sizeof(*g));
	g->n = 1 + (uint32_t)random_below(seed, random_below(seed, 4) ? 10 : BLOCKS_MAX);
	make_blocks(g, seed);
	make_words(g, seed);
	for (uint64_t i = 0; i < roots; i++)
		add_held(g, (uint32_t)random_below(seed, g->n),
			random_below(seed, 3) ? REACH_START : REACH_INSIDE);
	for (uint64_t i = 0; i < maybes && random_below(seed, 2); i++)
		add_held(g, (uint32_t)random_below(seed, g->n), REACH_MAYBE);
	g->nparts = 1 + (uint32_t)random_below(seed, PARTS_MAX);
	for (uint32_t i = 1; i < g->nparts; i++)
		g->starts[i] = g->starts[i - 1] +
			       (uint32_t)random_below(seed, g->n - g->starts[i - 1] + 1);
	g->starts[g->nparts] = g->n;
}

/* ---- the same rules, slowly ---- */

struct truth {
	uint64_t reachable, possible, definite;
	uint64_t indirect_bytes[BLOCKS_MAX];
};

/* references[0][i]: the blocks to whose start block i refers; [1]: ... or to any part. */
typedef uint64_t references[2][BLOCKS_MAX];

static void read_references(const struct graph *g, references out)
{
	memset(out, 0, sizeof(references));
	for (uint32_t w = 0; w < g->nwords; w++)
		for (uint32_t i = 0; i < g->n; i++) {
			const struct reach_block *b = &g->blocks[i];
			const uint64_t word = g->words[w].word;

			if (word == b->addr)
				out[0][g->words[w].block] |= 1ULL << i;
			if (word == b->addr || (word > b->addr && word - b->addr < b->bytes))
				out[1][g->words[w].block] |= 1ULL << i;
		}
}

/* All that can be come to from a set, over blocks that are in another. */
static uint64_t closure(const struct graph *g, const uint64_t *to, uint64_t set, uint64_t over)
{
	uint64_t before;

	do {
		before = set;
		for (uint32_t i = 0; i < g->n; i++)
			if (set >> i & 1)
				set |= to[i] & over;
	} while (set != before);
	return set;
}

static uint64_t bytes_of(const struct graph *g, uint64_t set)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < g->n; i++)
		bytes += set >> i & 1 ? g->blocks[i].bytes : 0;
	return bytes;
}

/* What memcheck says if references from outside lead to the starts, or to the insides, of these blocks. */
static void reference(const struct graph *g, uint64_t starts, uint64_t insides, struct truth *out)
{
	references to;
	uint64_t lost, taken = 0, walked = 0;
	uint64_t with[BLOCKS_MAX] = { 0 }; /* by the first block of a walk: all that it took */

	read_references(g, to);
	out->reachable = closure(g, to[0], starts, ALL);
	out->possible = closure(g, to[1], out->reachable | insides, ALL) & ~out->reachable;
	lost = ~(out->reachable | out->possible) & (ALL >> (64 - g->n));
	for (uint32_t i = 0; i < g->n; i++) {
		const uint64_t me = 1ULL << i;
		uint64_t took;

		if (!(lost & ~taken & me))
			continue;
		took = closure(g, to[1], me, lost & ~taken) & ~me;
		for (uint32_t j = 0; j < i; j++)
			if (took & walked & 1ULL << j)
				with[i] |= with[j];
		with[i] |= took;
		taken |= took;
		walked |= me;
	}
	out->definite = lost & ~taken;
	for (uint32_t i = 0; i < g->n; i++)
		out->indirect_bytes[i] = out->definite >> i & 1 ? bytes_of(g, with[i]) : 0;
}

static enum audit_kind kind_in(const struct truth *t, uint32_t block)
{
	if (t->reachable >> block & 1)
		return AUDIT_REACHABLE;
	if (t->possible >> block & 1)
		return AUDIT_POSSIBLE;
	return t->definite >> block & 1 ? AUDIT_DEFINITE : AUDIT_INDIRECT;
}

/* What holds of each block whatever the unread memory holds. */
static void reference_of_all(const struct graph *g, enum audit_kind *kinds, struct truth *last)
{
	uint64_t starts = 0, insides = 0;
	uint32_t maybes[MAYBES_MAX], nmaybes = 0, worlds = 1;

	for (uint32_t i = 0; i < g->nheld; i++) {
		if (g->held[i].how == REACH_MAYBE) {
			maybes[nmaybes++] = g->held[i].block;
			worlds *= 3;
		} else {
			*(g->held[i].how == REACH_START ? &starts : &insides) |=
				1ULL << g->held[i].block;
		}
	}
	for (uint32_t world = 0; world < worlds; world++) {
		uint64_t more_starts = starts, more_insides = insides;
		uint32_t digits = world;

		for (uint32_t i = 0; i < nmaybes; i++, digits /= 3) {
			more_starts |= digits % 3 == 2 ? 1ULL << maybes[i] : 0;
			more_insides |= digits % 3 == 1 ? 1ULL << maybes[i] : 0;
		}
		reference(g, more_starts, more_insides, last); /* the last: everything is held */
		for (uint32_t i = 0; i < g->n; i++)
			if (world == 0)
				kinds[i] = kind_in(last, i);
			else if (kinds[i] != kind_in(last, i))
				kinds[i] = AUDIT_LIMBO;
	}
}

/* ---- comparison ---- */

static void fill_parts(const struct graph *g, const struct reach_blocks *blocks,
	struct reach_edges *parts, uint64_t *seed)
{
	uint32_t w = 0;

	for (uint32_t p = 0; p < g->nparts; p++) {
		const uint32_t first = g->starts[p], end = g->starts[p + 1];

		assert_int_equal(reach_edges_open(&parts[p], first, end - first, UINT32_MAX), 0);
		while (w < g->nwords && g->words[w].block < end) {
			uint32_t n = 1;

			while (w + n < g->nwords && g->words[w + n].block < end &&
				random_below(seed, 8))
				n++;
			assert_int_equal(reach_edges_add(&parts[p], blocks, g->words + w, n), 0);
			w += n;
		}
	}
}

/* false: a kind or a sum differs. */
static bool agrees(const struct graph *g, uint64_t *seed)
{
	struct reach_blocks blocks;
	struct reach_edges parts[PARTS_MAX];
	struct reach *r;
	struct truth truth;
	enum audit_kind kinds[BLOCKS_MAX];
	const uint64_t slice = random_below(seed, 3) ? UINT64_MAX : 1 + random_below(seed, 9);
	bool same = true;

	assert_int_equal(reach_blocks_open(&blocks, g->blocks, g->n), 0);
	fill_parts(g, &blocks, parts, seed);
	assert_int_equal(reach_begin(&blocks, parts, g->nparts, &r), 0);
	for (uint32_t i = 0; i < g->nheld; i++)
		reach_hold(r, g->held[i].block, g->held[i].how);
	while (!reach_run(r, slice))
		;
	reference_of_all(g, kinds, &truth);
	for (uint32_t i = 0; i < g->n && same; i++)
		same = reach_kind(r, i) == kinds[i] &&
		       reach_indirect_bytes(r, i) == truth.indirect_bytes[i];
	reach_end(r);
	for (uint32_t p = 0; p < g->nparts; p++)
		reach_edges_close(&parts[p]);
	reach_blocks_close(&blocks);
	return same;
}

static void test_random_graphs(void **state)
{
	static struct graph g;
	const char *first = getenv("RMEM_SEED"), *n = getenv("RMEM_TEST_GRAPHS");
	const uint64_t from = first ? strtoull(first, NULL, 10) : 1;
	const uint64_t graphs = n ? strtoull(n, NULL, 10) : 100000;

	(void)state;
	for (uint64_t i = from; i < from + graphs; i++) {
		uint64_t seed = i;

		make_graph(&g, &seed);
		if (!agrees(&g, &seed))
			fail_msg("graph %llu: RMEM_SEED=%llu RMEM_TEST_GRAPHS=1 repeats it",
				(unsigned long long)i, (unsigned long long)i);
	}
}

/* ---- by hand ---- */

#define START 0U
#define INSIDE 8U

/* Blocks of 100 bytes, one behind the other; {from, to, START or INSIDE}. */
struct by_hand {
	uint32_t n;
	uint32_t edges[8][3]; /* in order; the first that is {0, 0, 0} ends them */
	struct {
		uint32_t block;
		int how; /* enum reach_hold */
	} held[4];
	uint32_t nheld;
	const char *kinds; /* a letter per block */
	uint64_t indirect_bytes[4];
};

static const char letters[] = {
	[AUDIT_DEFINITE] = 'd',
	[AUDIT_INDIRECT] = 'i',
	[AUDIT_POSSIBLE] = 'p',
	[AUDIT_REACHABLE] = 'r',
	[AUDIT_LIMBO] = 'l',
};

static void check_by_hand(const struct by_hand *h)
{
	static struct graph g;
	struct reach_blocks blocks;
	struct reach_edges edges;
	struct reach *r;

	memset(&g, 0, sizeof(g));
	for (uint32_t i = 0; i < h->n; i++)
		g.blocks[i] = (struct reach_block){ .addr = 1000 + 100 * i, .bytes = 100 };
	for (const uint32_t(*e)[3] = h->edges; (*e)[0] || (*e)[1] || (*e)[2]; e++)
		g.words[g.nwords++] =
			(struct reach_word){ (*e)[0], g.blocks[(*e)[1]].addr + (*e)[2] };
	assert_int_equal(reach_blocks_open(&blocks, g.blocks, h->n), 0);
	assert_int_equal(reach_edges_open(&edges, 0, h->n, UINT32_MAX), 0);
	assert_int_equal(reach_edges_add(&edges, &blocks, g.words, g.nwords), 0);
	assert_int_equal(reach_begin(&blocks, &edges, 1, &r), 0);
	for (uint32_t i = 0; i < h->nheld; i++)
		reach_hold(r, h->held[i].block, (enum reach_hold)h->held[i].how);
	assert_true(reach_run(r, UINT64_MAX));
	for (uint32_t i = 0; i < h->n; i++) {
		if (letters[reach_kind(r, i)] != h->kinds[i])
			fail_msg("%s: block %u is %c", h->kinds, i, letters[reach_kind(r, i)]);
		assert_int_equal(reach_indirect_bytes(r, i), h->indirect_bytes[i]);
	}
	reach_end(r);
	reach_edges_close(&edges);
	reach_blocks_close(&blocks);
}

static void test_by_hand(void **state)
{
	static const struct by_hand cases[] = {
		{ .n = 1, .kinds = "d" },
		/* A chain; from below, and from above, where each walk takes over the last. */
		{ .n = 3,
			.edges = { { 0, 1 }, { 1, 2 } },
			.kinds = "dii",
			.indirect_bytes = { 200 } },
		{ .n = 3,
			.edges = { { 1, 0 }, { 2, 1 } },
			.kinds = "iid",
			.indirect_bytes = { 0, 0, 200 } },
		/* A ring has one definite block, the lowest. */
		{ .n = 3,
			.edges = { { 0, 1 }, { 1, 2 }, { 2, 0 } },
			.kinds = "dii",
			.indirect_bytes = { 200 } },
		/* Two refer to each other; a third to the upper or to the lower one. */
		{ .n = 3,
			.edges = { { 0, 1 }, { 1, 0 }, { 2, 1 } },
			.kinds = "did",
			.indirect_bytes = { 100 } },
		{ .n = 3,
			.edges = { { 0, 1 }, { 1, 0 }, { 2, 0 } },
			.kinds = "iid",
			.indirect_bytes = { 0, 0, 200 } },
		/* References to the inside: of a held block; of a lost one. */
		{ .n = 3,
			.edges = { { 0, 1, INSIDE }, { 1, 2 } },
			.held = { { 0, REACH_START } },
			.nheld = 1,
			.kinds = "rpp" },
		{ .n = 2, .edges = { { 0, 1, INSIDE } }, .kinds = "di", .indirect_bytes = { 100 } },
		/* From possible to reachable, and what it refers to as well. */
		{ .n = 4,
			.edges = { { 0, 1, INSIDE }, { 1, 2 }, { 3, 1 } },
			.held = { { 0, REACH_START }, { 3, REACH_START } },
			.nheld = 2,
			.kinds = "rrrr" },
		/* Unread memory: what it may refer to, and what that refers to. */
		{ .n = 3,
			.edges = { { 0, 1 }, { 1, 2, INSIDE } },
			.held = { { 0, REACH_MAYBE } },
			.nheld = 1,
			.kinds = "lll" },
		/* ... does not matter to blocks that are held anyway; a lost one refers to it. */
		{ .n = 3,
			.edges = { { 0, 1, INSIDE }, { 2, 0 } },
			.held = { { 0, REACH_START }, { 0, REACH_MAYBE }, { 1, REACH_INSIDE } },
			.nheld = 3,
			.kinds = "rpd" },
		/* ... makes a possible block one of which it is not known whether it is reachable. */
		{ .n = 2,
			.held = { { 0, REACH_INSIDE }, { 0, REACH_MAYBE } },
			.nheld = 2,
			.kinds = "ld" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_by_hand(&cases[i]);
}

/* ---- what is refused, and slices ---- */

static const struct reach_block four[] = { { 1000, 100 }, { 1100, 100 }, { 1200, 0 },
	{ 1300, 100 } };

static void test_refused_parts(void **state)
{
	struct reach_blocks b;
	struct reach *r;
	struct reach_edges parts[2];

	(void)state;
	assert_int_equal(reach_blocks_open(&b, four, 4), 0);
	assert_int_equal(reach_edges_open(&parts[0], 0, 2, 9), 0);
	assert_int_equal(reach_edges_open(&parts[1], 1, 3, 9), 0);
	assert_int_equal(reach_begin(&b, parts, 2, &r), -EINVAL);
	reach_edges_close(&parts[1]);
	assert_int_equal(reach_edges_open(&parts[1], 2, 3, 9), 0);
	assert_int_equal(reach_begin(&b, parts, 2, &r), -EINVAL);
	reach_edges_close(&parts[1]);
	assert_int_equal(reach_edges_open(&parts[1], 2, 2, 9), 0);
	assert_int_equal(reach_begin(&b, parts, 2, &r), 0);
	reach_end(r);
	reach_end(NULL);
	reach_edges_close(&parts[0]);
	reach_edges_close(&parts[1]);
	reach_blocks_close(&b);
}

/* No blocks: nothing to do, and the end is reached. A chain of many: no recursion. A slice does not do more than it may. */
static void test_sizes_and_slices(void **state)
{
	const uint32_t n = 300000;
	struct reach_block *blocks = calloc(n, sizeof(*blocks));
	struct reach_blocks b;
	struct reach_edges e;
	struct reach *r;
	uint64_t slices = 0;

	(void)state;
	assert_non_null(blocks);
	assert_int_equal(reach_blocks_open(&b, blocks, 0), 0);
	assert_int_equal(reach_begin(&b, NULL, 0, &r), 0);
	assert_true(reach_run(r, 100));
	reach_end(r);
	reach_blocks_close(&b);

	for (uint32_t i = 0; i < n; i++)
		blocks[i] = (struct reach_block){ 64 * (uint64_t)i, 64 };
	assert_int_equal(reach_blocks_open(&b, blocks, n), 0);
	assert_int_equal(reach_edges_open(&e, 0, n, UINT32_MAX), 0);
	for (uint32_t i = 0; i < n; i++) {
		const struct reach_word words[] = { { i, 64 * (uint64_t)(i + 1) },
			{ i, 64 * (uint64_t)i - 64 } };

		assert_int_equal(reach_edges_add(&e, &b, words, 2), 0);
	}
	assert_int_equal(reach_begin(&b, &e, 1, &r), 0);
	while (!reach_run(r, 1000))
		slices++;
	/* Two sweeps, and each block and reference once. */
	assert_in_range(slices, 4 * n / 1000, 6 * n / 1000);
	assert_int_equal(reach_kind(r, 0), AUDIT_DEFINITE);
	assert_int_equal(reach_indirect_bytes(r, 0), 64 * (uint64_t)(n - 1));
	assert_int_equal(reach_kind(r, n - 1), AUDIT_INDIRECT);
	reach_end(r);
	reach_edges_close(&e);
	reach_blocks_close(&b);
	free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_refused_parts),
		cmocka_unit_test(test_sizes_and_slices),
		cmocka_unit_test(test_random_graphs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
