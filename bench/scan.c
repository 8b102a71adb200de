/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast a program is searched for remote addresses, beside memcpy() of as much in the same round: from memory to
 * memory, and in pieces to one buffer, which is what the search itself does. A line per measurement: what, GB/s of
 * processor time, and that in relation to both; medians over the rounds. Needs no device and no server.
 *
 *	scan-bench MIB ROUNDS
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/scan/scan.h"
#include "client/scan/tagged_words.h"
#include "common/addr.h"
#include "common/clock.h"
#include "common/heap.h"

#define PIECE ((size_t)256 << 10)
#define PIECE_WORDS (PIECE / 8)
#define BLOCKS 1000000U
#define BLOCK_BYTES 4096U
#define REFERENCES_EVERY 512U /* words: one in a page of 4 KiB */
#define ROUNDS_MAX 99

enum job {
	COPY_ALL, /* these two are what others are compared with */
	COPY_PIECES,
	WORDS_PLAIN,
	WORDS_BEST,
	WORDS_CACHED,
	READ_PIECES,
	SCAN_SMALL_PAGES,
	SCAN_HUGE_PAGES,
	JOBS,
};

static const char *const names[JOBS] = { "memcpy", "memcpy in pieces", "words, plain, in memory",
	"words, in memory", "words, in cache", "process_vm_readv in pieces", "scan, 4 KiB pages",
	"scan, huge pages" };

static struct {
	size_t bytes;
	uint8_t *from, *to, *huge;
	uint64_t *buffer, *found;
	struct heap *heap;
	struct target *blocks;
	double rates[JOBS][ROUNDS_MAX];
} bench;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scan-bench: %s\n", what);
	exit(1);
}

/* With an address here and there, as a program has them. */
static uint8_t *map(int advice)
{
	uint8_t *p =
		mmap(NULL, bench.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = 42;

	must(p != MAP_FAILED, "no memory");
	(void)madvise(p, bench.bytes, advice);
	for (size_t i = 0; i < bench.bytes / 8; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		((uint64_t *)p)[i] = i % REFERENCES_EVERY
					     ? seed >> 9
					     : addr_make(1, (seed >> 33) % BLOCKS * BLOCK_BYTES);
	}
	return p;
}

static void unmap(uint8_t *p)
{
	(void)munmap(p, bench.bytes);
}

static void copy_pieces(void)
{
	for (size_t at = 0; at < bench.bytes; at += PIECE)
		memcpy(bench.buffer, bench.from + at, PIECE);
}

static void read_pieces(void)
{
	struct iovec local = { bench.buffer, PIECE }, remote = { NULL, PIECE };

	for (size_t at = 0; at < bench.bytes; at += PIECE) {
		remote.iov_base = bench.from + at;
		must(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)PIECE,
			"process_vm_readv");
	}
}

static void find(bool cached, size_t (*function)(const uint64_t *, size_t, uint64_t *))
{
	size_t found = 0;

	for (size_t at = 0; at < bench.bytes; at += PIECE)
		found += function((const uint64_t *)(bench.from + (cached ? 0 : at)), PIECE_WORDS,
			bench.found);
	must(found == bench.bytes / 8 / REFERENCES_EVERY, "an address is not found");
}

static void scan(void)
{
	const struct scan_request request = {
		.blocks = bench.blocks, .nblocks = BLOCKS, .cancel_fd = -1
	};
	struct scan *s;

	must(scan_create(&s, &request, NULL) == 0 && scan_run(s, NULL) == 0, "a scan");
	must(scan_counts(s)->bytes_read >= bench.bytes, "a scan has not read everything");
	scan_destroy(s);
}

static void do_job(enum job job)
{
	switch (job) {
	case COPY_ALL:
		memcpy(bench.to, bench.from, bench.bytes);
		break;
	case COPY_PIECES:
		copy_pieces();
		break;
	case WORDS_PLAIN:
		find(false, tagged_words_find_plain);
		break;
	case WORDS_BEST:
		find(false, tagged_words_find);
		break;
	case WORDS_CACHED:
		find(true, tagged_words_find);
		break;
	case READ_PIECES:
		read_pieces();
		break;
	case SCAN_SMALL_PAGES:
	case SCAN_HUGE_PAGES:
		scan();
		break;
	case JOBS:
		break;
	}
}

static void measure(enum job job, unsigned round)
{
	uint64_t began;

	began = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	do_job(job);
	bench.rates[job][round] =
		(double)bench.bytes / (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - began);
}

/* A scan reads all there is: only what it is to read is there. */
static void run_round(unsigned round)
{
	bench.from = map(MADV_NOHUGEPAGE);
	bench.to = map(MADV_NOHUGEPAGE);
	for (enum job job = COPY_ALL; job <= READ_PIECES; job++)
		measure(job, round);
	unmap(bench.to);
	measure(SCAN_SMALL_PAGES, round);
	unmap(bench.from);
	bench.huge = map(MADV_HUGEPAGE);
	measure(SCAN_HUGE_PAGES, round);
	unmap(bench.huge);
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

/* Of each round's ratio: what else the machine did then was in both. */
static double ratio(enum job job, enum job to, unsigned rounds)
{
	double ratios[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = bench.rates[job][i] / bench.rates[to][i];
	return median(ratios, rounds);
}

static void print_all(unsigned rounds)
{
	double ratios[JOBS][2];

	for (enum job job = 0; job < JOBS; job++) {
		ratios[job][0] = ratio(job, COPY_ALL, rounds);
		ratios[job][1] = ratio(job, COPY_PIECES, rounds);
	}
	printf("\tGB/s\t/ memcpy\t/ in pieces\n");
	for (enum job job = 0; job < JOBS; job++)
		printf("%s\t%.2f\t%.2f\t%.2f\n", names[job], median(bench.rates[job], rounds),
			ratios[job][0], ratios[job][1]);
}

static void prepare(void)
{
	bench.heap = heap_create();
	must(bench.heap, "no memory");
	bench.blocks = heap_alloc(bench.heap, BLOCKS * sizeof(*bench.blocks));
	bench.buffer = heap_alloc(bench.heap, PIECE);
	bench.found = heap_alloc(bench.heap, PIECE);
	must(bench.blocks && bench.buffer && bench.found, "no memory");
	for (unsigned i = 0; i < BLOCKS; i++)
		bench.blocks[i] =
			(struct target){ addr_make(1, (uint64_t)i * BLOCK_BYTES), BLOCK_BYTES };
}

int main(int argc, char **argv)
{
	unsigned long mib, rounds;

	must(argc == 3, "usage: scan-bench MIB ROUNDS");
	mib = strtoul(argv[1], NULL, 10);
	rounds = strtoul(argv[2], NULL, 10);
	must(mib && mib <= 65536 && rounds && rounds <= ROUNDS_MAX, "usage: scan-bench MIB ROUNDS");
	bench.bytes = mib << 20;
	prepare();
	for (unsigned i = 0; i < rounds; i++)
		run_round(i);
	print_all((unsigned)rounds);
	heap_destroy(bench.heap);
	return 0;
}
