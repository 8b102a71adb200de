/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How librmem's map of addresses scales: with N blocks there, remove one at random and add it again, and look one up
 * without a lock. Needs no device and no server. A line per number of blocks: how many; nanoseconds of processor time for
 * finding one by its address, removing and adding it, and for a lookup; and for one access to memory at random, each after the one
 * before, in as much memory as the blocks take: what the machine itself needs.
 *
 *	blocks-bench N…
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/control/blocks.h"
#include "common/addr.h"
#include "common/clock.h"

#define PAGE 4096U
#define PAGES_PER_BLOCK 4
#define ROUNDS 2000000U
#define CACHE_LINE 64U

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "blocks-bench: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*seed >> 33) % below;
}

static uint64_t addr_of(uint64_t i)
{
	return (ADDR_TAG << ADDR_TAG_SHIFT) + i * PAGES_PER_BLOCK * PAGE;
}

static void add(struct blocks *t, uint64_t i)
{
	const struct block new = { .addr = addr_of(i), .bytes = 3 * PAGE, .id = i + 1 };

	must(blocks_add(t, &new) == 0, "no memory");
}

static double replace_some(struct blocks *t, uint64_t n)
{
	uint64_t began = cpu_ns(), seed = 42;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t which = draw(&seed, n);

		blocks_remove(t, blocks_find(t, addr_of(which)));
		add(t, which);
	}
	return (double)(cpu_ns() - began) / ROUNDS;
}

static double look_up_some(const struct blocks *t, uint64_t n)
{
	uint64_t began = cpu_ns(), seed = 43, found = 0;
	struct block_view view;

	for (unsigned i = 0; i < ROUNDS; i++)
		found += blocks_view(t, addr_of(draw(&seed, n)) + PAGE, &view);
	must(found == ROUNDS, "a block is not found");
	return (double)(cpu_ns() - began) / ROUNDS;
}

/* A cycle through one word in each cache line, in random order (Sattolo). */
static double access_some(uint64_t lines)
{
	uint64_t *words = calloc(lines, CACHE_LINE), at = 0, seed = 44, began, tmp, other;
	const unsigned step = CACHE_LINE / sizeof(*words);

	must(words, "no memory");
	for (uint64_t i = 0; i < lines; i++)
		words[i * step] = i;
	for (uint64_t i = lines - 1; i > 0; i--) {
		other = draw(&seed, i);
		tmp = words[i * step];
		words[i * step] = words[other * step];
		words[other * step] = tmp;
	}
	began = cpu_ns();
	for (unsigned i = 0; i < ROUNDS; i++)
		at = words[at * step];
	began = cpu_ns() - began;
	must(at < lines, "a cycle ends");
	free(words);
	return (double)began / ROUNDS;
}

static void measure(uint64_t n)
{
	struct heap *heap = heap_create();
	struct blocks t = { 0 };
	double replaced;

	must(heap && blocks_init(&t, heap, NULL) == 0, "no memory");
	for (uint64_t i = 0; i < n; i++)
		add(&t, i);
	replaced = replace_some(&t, n);
	printf("%" PRIu64 "\t%.0f\t%.0f\t%.0f\n", n, replaced, look_up_some(&t, n),
		access_some(n * sizeof(struct block) / CACHE_LINE));
	fflush(stdout);
	heap_destroy(heap);
}

int main(int argc, char **argv)
{
	puts("blocks\tfind + remove + add, ns\tlookup, ns\tmemory access, ns");
	for (int i = 1; i < argc; i++) {
		uint64_t n = strtoull(argv[i], NULL, 10);

		must(n > 0, "usage: blocks-bench N…");
		measure(n);
	}
	return 0;
}
