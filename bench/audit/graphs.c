/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs of heap blocks by chance, for scripts/audit-bench: run under valgrind, whose leak check says the kind of each
 * block, and which writes into its log. What the blocks hold goes to standard output, for audit-kinds:
 *
 *	graph SEED
 *	root WORD	of static memory
 *	block ADDR BYTES
 *	word WORD	in the last block, aligned; zeros are left out
 *
 * audit-graphs SEED N: the graphs SEED to SEED + N - 1. Memory that memcheck sees must hold only what is written out: so this
 * program keeps its own addresses in a form that is none, and clears registers before the check.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/valgrind.h>

#include "tests/support/random.h"

#define BLOCKS_MAX 60U
#define ROOTS_MAX 4U
#define HIDDEN 0x5a5a5a5a5a5a5a5aULL

#if defined(__has_attribute) && __has_attribute(zero_call_used_regs)
#define CLEARS_REGISTERS __attribute__((noinline, zero_call_used_regs("all")))
#else
#define CLEARS_REGISTERS __attribute__((noinline))
#endif

/* Memcheck's roots: nothing else of this program that it scans holds an address of a block. */
static uint64_t roots[ROOTS_MAX];

static struct {
	unsigned n;
	uint64_t hidden[BLOCKS_MAX]; /* addresses, XOR HIDDEN */
	uint64_t bytes[BLOCKS_MAX];
} g;

static uint64_t address(unsigned i)
{
	return g.hidden[i] ^ HIDDEN;
}

static uint64_t random_bytes_of_block(uint64_t *seed)
{
	switch (random_below(seed, 8)) {
	case 0:
		return random_below(seed, 8);
	case 1:
		return random_below(seed, 5000);
	default:
		return 8 * random_below(seed, 12);
	}
}

/* To a start, an inside, a last byte, one past the end, or nowhere. */
static uint64_t random_word(uint64_t *seed)
{
	const unsigned i = (unsigned)random_below(seed, g.n);

	switch (random_below(seed, 8)) {
	case 0:
		return address(i) + random_below(seed, g.bytes[i] + 1);
	case 1:
		return address(i) + g.bytes[i];
	case 2:
		return address(i) + g.bytes[i] - 1;
	case 3:
		return random_u64(seed);
	default:
		return address(i);
	}
}

/* Most words are aligned, as pointers are; a few are not, and are not seen. */
static void store(unsigned i, uint64_t word, uint64_t *seed)
{
	uint64_t at;

	if (g.bytes[i] < 8)
		return;
	at = random_below(seed, g.bytes[i] - 7);
	if (random_below(seed, 20))
		at -= at % 8;
	memcpy((void *)(uintptr_t)(address(i) + at), &word, sizeof(word));
}

enum shape { RANDOM, LIST, TREE, RING, SHAPES };

/* What a program would make, in an order of addresses by chance; words may overwrite each other. */
static void fill_shape(enum shape shape, uint64_t *seed)
{
	unsigned order[BLOCKS_MAX] = { 0 };

	for (unsigned i = 0; i < g.n; i++) {
		const unsigned j = (unsigned)random_below(seed, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned i = 1; i < g.n; i++)
		store(order[shape == TREE ? (i - 1) / 2 : i - 1], address(order[i]), seed);
	if (shape == RING)
		store(order[g.n - 1], address(order[0]), seed);
	for (unsigned i = 1; i < g.n && shape == RING && random_below(seed, 2); i++)
		store(order[i], address(order[i - 1]), seed);
}

static void fill_random(uint64_t degree, uint64_t *seed)
{
	for (unsigned i = 0; i < g.n; i++)
		for (uint64_t n = random_below(seed, 2 * degree + 1); n > 0; n--)
			store(i, random_word(seed), seed);
}

CLEARS_REGISTERS static void build(uint64_t seed)
{
	const enum shape shape = (enum shape)random_below(&seed, SHAPES);
	const uint64_t degree = random_below(&seed, shape == RANDOM ? 5 : 2);
	const uint64_t nroots = random_below(&seed, ROOTS_MAX + 1);

	g.n = 1 + (unsigned)random_below(&seed, random_below(&seed, 3) ? 10 : BLOCKS_MAX);
	for (unsigned i = 0; i < g.n; i++) {
		g.bytes[i] = random_bytes_of_block(&seed);
		/* Blocks of 0 bytes are wanted. NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI) */
		g.hidden[i] = (uint64_t)(uintptr_t)calloc(1, g.bytes[i]) ^ HIDDEN;
		if (g.hidden[i] == HIDDEN)
			exit(1);
	}
	if (shape != RANDOM)
		fill_shape(shape, &seed);
	fill_random(degree, &seed);
	for (uint64_t i = 0; i < nroots; i++)
		roots[i] = random_word(&seed);
}

CLEARS_REGISTERS static void write_out(uint64_t number)
{
	printf("graph %" PRIu64 "\n", number);
	for (unsigned i = 0; i < ROOTS_MAX; i++)
		if (roots[i])
			printf("root %" PRIx64 "\n", roots[i]);
	for (unsigned i = 0; i < g.n; i++) {
		printf("block %" PRIx64 " %" PRIu64 "\n", address(i), g.bytes[i]);
		for (uint64_t at = 0; at + 8 <= g.bytes[i]; at += 8) {
			uint64_t word;

			memcpy(&word, (const void *)(uintptr_t)(address(i) + at), 8);
			if (word)
				printf("word %" PRIx64 "\n", word);
		}
	}
	if (fflush(stdout))
		exit(1);
}

CLEARS_REGISTERS static void take_down(void)
{
	memset(roots, 0, sizeof(roots));
	for (unsigned i = 0; i < g.n; i++)
		free((void *)(uintptr_t)address(i));
	memset(&g, 0, sizeof(g));
}

int main(int argc, char **argv)
{
	static char buffer
		[1 << 16]; /* of standard output; in static memory, and cleared by nobody: it has text */
	const uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	const uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	if (setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)))
		return 1;
	for (uint64_t i = from; i < from + n; i++) {
		build(i);
		write_out(i);
		(void)VALGRIND_PRINTF("graph %llu\n", (unsigned long long)i);
		(void)VALGRIND_MONITOR_COMMAND("leak_check full reachable any");
		(void)VALGRIND_MONITOR_COMMAND("block_list 1..99 unlimited");
		take_down();
	}
	return 0;
}
