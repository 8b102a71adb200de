/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What kinds from references cost: blocks of 64 bytes with references to each other, most of them far apart, so that the
 * caches miss. Needs no device and no memory of these blocks: the words are made as a scan would find them.
 *
 * marking-bench BLOCKS. Two shapes, each with half of the blocks lost:
 *	random	0 to 5 references per block, 2.5 on average, one in eight to the inside
 *	lists	every block refers to the next of its list, 1000 long, in an order by chance: nothing can be fetched ahead
 *
 * A line per measurement: name, how many blocks, milliseconds of processor time in all, nanoseconds each, milliseconds of the
 * longest call; and of memory: bytes per block, of those that are not references.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "server/audit/reach.h"
#include "tests/support/random.h"

#define BLOCK_BYTES 64
#define BASE 0x9e00000000000000ULL
#define BATCH 4096  /* words per call */
#define STEPS 20000 /* per slice */
#define LIST 1000   /* blocks */

struct timing {
	uint64_t began_ns, total_ns, longest_ns;
};

static struct {
	uint32_t n;
	struct reach_block *input;
	uint32_t *order; /* lists: the blocks, list by list */
	uint32_t *next;  /* lists: what each block refers to; itself: nothing */
	struct reach_blocks blocks;
	struct reach_edges edges;
} b;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "marking-bench: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static void begin(struct timing *t)
{
	t->began_ns = cpu_ns();
}

static void end(struct timing *t)
{
	const uint64_t took_ns = cpu_ns() - t->began_ns;

	t->total_ns += took_ns;
	t->longest_ns = took_ns > t->longest_ns ? took_ns : t->longest_ns;
}

static void print(const char *shape, const char *name, const struct timing *t)
{
	printf("%s,%s\t%" PRIu32 "\t%.3f\t%.1f\t%.3f\n", shape, name, b.n,
		(double)t->total_ns / 1e6, (double)t->total_ns / b.n, (double)t->longest_ns / 1e6);
}

static uint64_t heap_bytes(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* ---- the blocks and what they refer to ---- */

static void make_blocks(void)
{
	b.input = calloc(b.n, sizeof(*b.input));
	must(b.input != NULL, "no memory for the blocks");
	for (uint32_t i = 0; i < b.n; i++)
		b.input[i] =
			(struct reach_block){ BASE + BLOCK_BYTES * (uint64_t)i, BLOCK_BYTES - 4 };
}

static void make_lists(uint64_t *seed)
{
	b.order = calloc(b.n, sizeof(*b.order));
	b.next = calloc(b.n, sizeof(*b.next));
	must(b.order && b.next, "no memory for the lists");
	for (uint32_t i = 0; i < b.n; i++)
		b.order[i] = i;
	for (uint32_t i = b.n - 1; i > 0; i--) {
		const uint32_t j = (uint32_t)random_below(seed, i + 1), was = b.order[i];

		b.order[i] = b.order[j];
		b.order[j] = was;
	}
	for (uint32_t i = 0; i < b.n; i++)
		b.next[b.order[i]] = b.order[i + 1 < b.n && (i + 1) % LIST ? i + 1 : i];
}

static uint64_t address(uint32_t block)
{
	return BASE + BLOCK_BYTES * (uint64_t)block;
}

/* Even blocks refer to even ones, and odd ones to odd ones, which are lost. */
static size_t words_of_random(uint32_t block, struct reach_word *out, uint64_t *seed)
{
	const size_t n = random_below(seed, 6);

	for (size_t i = 0; i < n; i++) {
		const uint32_t to = (uint32_t)random_below(seed, b.n / 2) * 2 + block % 2;

		out[i].block = block;
		out[i].word = address(to) + (random_below(seed, 8) ? 0 : 8);
	}
	return n;
}

static size_t words_of_lists(uint32_t block, struct reach_word *out, uint64_t *seed)
{
	(void)seed;
	out->block = block;
	out->word = address(b.next[block]);
	return 1;
}

static size_t words_of(uint32_t block, struct reach_word *out, uint64_t *seed)
{
	return b.next ? words_of_lists(block, out, seed) : words_of_random(block, out, seed);
}

static void add_words(struct timing *t, const struct reach_word *words, size_t n)
{
	begin(t);
	must(!reach_edges_add(&b.edges, &b.blocks, words, n), "cannot add references");
	end(t);
}

static void fill(struct timing *t, uint64_t *seed)
{
	static struct reach_word words[BATCH + 8];
	size_t n = 0;

	for (uint32_t i = 0; i < b.n; i++) {
		n += words_of(i, words + n, seed);
		if (n < BATCH)
			continue;
		add_words(t, words, n);
		n = 0;
	}
	add_words(t, words, n);
}

/* random: a thousand of the even blocks; lists: the head of every second list. */
static void hold(struct reach *r, uint64_t *seed)
{
	for (uint32_t i = 0; b.order && i < b.n; i += 2 * LIST)
		reach_hold(r, b.order[i], REACH_START);
	for (unsigned i = 0; !b.order && i < 1000; i++)
		reach_hold(r, (uint32_t)random_below(seed, b.n / 2) * 2, REACH_START);
}

/* ---- the measurements ---- */

static void print_kinds(const char *shape, const struct reach *r)
{
	uint64_t kinds[AUDIT_KINDS] = { 0 };

	for (uint32_t i = 0; i < b.n; i++)
		kinds[reach_kind(r, i)]++;
	fprintf(stderr, "%s: %" PRIu32 " references", shape, b.edges.ntargets);
	for (unsigned k = 0; k < AUDIT_KINDS; k++)
		if (kinds[k])
			fprintf(stderr, ", %" PRIu64 " %s", kinds[k],
				audit_kind_name((enum audit_kind)k));
	fputc('\n', stderr);
}

static void measure(const char *shape, uint64_t *seed)
{
	struct timing index = { 0 }, find = { 0 }, mark = { 0 }, all;
	const uint64_t before = heap_bytes();
	struct reach *r;
	bool done;

	begin(&index);
	must(!reach_blocks_open(&b.blocks, b.input, b.n), "no memory for the index");
	end(&index);
	must(!reach_edges_open(&b.edges, 0, b.n, UINT32_MAX), "no memory for references");
	fill(&find, seed);
	must(!reach_begin(&b.blocks, &b.edges, 1, &r), "no memory for the marks");
	hold(r, seed);
	do {
		begin(&mark);
		done = reach_run(r, STEPS);
		end(&mark);
	} while (!done);
	all.total_ns = index.total_ns + find.total_ns + mark.total_ns;
	all.longest_ns = index.longest_ns;
	print(shape, "index", &index);
	print(shape, "references", &find);
	print(shape, "kinds", &mark);
	print(shape, "all", &all);
	printf("%s,scratch\t%" PRIu32 "\t\t%.1f B\t\n", shape, b.n,
		(double)(heap_bytes() - before - (uint64_t)b.edges.room * sizeof(reach_target)) /
			b.n);
	print_kinds(shape, r);
	reach_end(r);
	reach_edges_close(&b.edges);
	reach_blocks_close(&b.blocks);
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;

	b.n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000000;
	must(b.n >= 2 && b.n < REACH_BLOCKS_MAX, "BLOCKS is from 2 to 2^31");
	make_blocks();
	measure("random", &seed);
	make_lists(&seed);
	measure("lists", &seed);
	free(b.order);
	free(b.next);
	free(b.input);
	return 0;
}
