/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What server/audit/reach.h says of the graphs that audit-graphs writes. Reads them from standard input; a line per
 * block: SEED ADDR KIND.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/reach.h"

#define BLOCKS_MAX 4096U
#define WORDS_MAX 65536U
#define ROOTS_MAX 64U

static struct {
	uint64_t number;
	uint32_t nblocks, nwords, nroots;
	struct reach_block blocks[BLOCKS_MAX]; /* as they come; sorted by judge() */
	struct reach_word words[WORDS_MAX];    /* of blocks as they come */
	uint64_t roots[ROOTS_MAX];
	uint32_t order[BLOCKS_MAX]; /* the blocks in address order */
} g;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "audit-kinds: graph %" PRIu64 ": %s\n", g.number, what);
	exit(1);
}

static int by_address(const void *a, const void *b)
{
	const uint64_t x = g.blocks[*(const uint32_t *)a].addr;
	const uint64_t y = g.blocks[*(const uint32_t *)b].addr;

	return (x > y) - (x < y);
}

/* The words block by block in address order; words of a block are together already. */
static void add_references(struct reach_edges *e, const struct reach_blocks *b)
{
	static uint32_t first[BLOCKS_MAX + 1];

	memset(first, 0, sizeof(first));
	for (uint32_t w = 0; w < g.nwords; w++)
		first[g.words[w].block + 1] = w + 1;
	for (uint32_t i = 1; i <= g.nblocks; i++)
		first[i] = first[i] > first[i - 1] ? first[i] : first[i - 1];
	for (uint32_t i = 0; i < g.nblocks; i++)
		for (uint32_t w = first[g.order[i]]; w < first[g.order[i] + 1]; w++) {
			const struct reach_word word = { i, g.words[w].word };

			must(!reach_edges_add(e, b, &word, 1), "a reference is refused");
		}
}

static void hold_roots(struct reach *r, const struct reach_blocks *b)
{
	reach_target found[ROOTS_MAX];

	reach_blocks_find(b, g.roots, g.nroots, found);
	for (uint32_t i = 0; i < g.nroots; i++)
		if (found[i] != REACH_NOTHING)
			reach_hold(r, reach_target_block(found[i]),
				reach_target_inside(found[i]) ? REACH_INSIDE : REACH_START);
}

static void judge(void)
{
	static struct reach_block sorted[BLOCKS_MAX];
	struct reach_blocks b;
	struct reach_edges e;
	struct reach *r;

	for (uint32_t i = 0; i < g.nblocks; i++)
		g.order[i] = i;
	qsort(g.order, g.nblocks, sizeof(*g.order), by_address);
	for (uint32_t i = 0; i < g.nblocks; i++)
		sorted[i] = g.blocks[g.order[i]];
	must(!reach_blocks_open(&b, sorted, g.nblocks), "blocks are refused");
	must(!reach_edges_open(&e, 0, g.nblocks, UINT32_MAX), "no memory");
	add_references(&e, &b);
	must(!reach_begin(&b, &e, 1, &r), "no memory");
	hold_roots(r, &b);
	must(reach_run(r, UINT64_MAX), "it does not end");
	for (uint32_t i = 0; i < g.nblocks; i++)
		printf("%" PRIu64 " 0x%" PRIx64 " %s\n", g.number, sorted[i].addr,
			audit_kind_name(reach_kind(r, i)));
	reach_end(r);
	reach_edges_close(&e);
	reach_blocks_close(&b);
}

static void read_line(const char *line)
{
	char *end = NULL;

	if (strncmp(line, "graph ", 6) == 0) {
		judge();
		memset(&g, 0, sizeof(g));
		g.number = strtoull(line + 6, NULL, 10);
	} else if (strncmp(line, "root ", 5) == 0) {
		must(g.nroots < ROOTS_MAX, "too many roots");
		g.roots[g.nroots++] = strtoull(line + 5, NULL, 16);
	} else if (strncmp(line, "block ", 6) == 0) {
		must(g.nblocks < BLOCKS_MAX, "too many blocks");
		g.blocks[g.nblocks].addr = strtoull(line + 6, &end, 16);
		g.blocks[g.nblocks++].bytes = strtoull(end, NULL, 10);
	} else {
		must(strncmp(line, "word ", 5) == 0 && g.nblocks > 0, "a line that is none");
		must(g.nwords < WORDS_MAX, "too many words");
		g.words[g.nwords].block = g.nblocks - 1;
		g.words[g.nwords++].word = strtoull(line + 5, NULL, 16);
	}
}

int main(void)
{
	char line[128];

	while (fgets(line, sizeof(line), stdin))
		read_line(line);
	judge();
	return 0;
}
