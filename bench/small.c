/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small allocations of a session with a real rmemd. Prints a line per measurement: name, value, unit.
 *
 *	small-bench COUNT		rmemd at $RMEM_SERVER
 *
 *	block		allocating and freeing a block of 64 bytes: what every small allocation cost before there were slabs
 *	block_alloc	the allocation alone: one round trip
 *	warm		allocating and freeing an object of 64 bytes whose slot is at hand
 *	batch		an allocation that had to get another slab first
 *	cold		allocating 64 bytes for the first time, those batches included
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "rmem/rmem.h"

#define BYTES 64
#define COLD_MAX 200000U

static rmem_addr_t cold[COLD_MAX];
static uint64_t times[COLD_MAX];

static void must(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "small-bench: %s\n", rmem_errmsg());
	exit(1);
}

static uint64_t now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}

static int by_size(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static uint64_t median(uint64_t *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return n ? v[n / 2] : 0;
}

static void pairs(struct rmem *rm, const char *name, const struct rmem_alloc_attr *attr, uint32_t n)
{
	uint64_t began, total = 0;
	rmem_addr_t addr;

	for (uint32_t i = 0; i < n; i++) {
		began = now_ns();
		must(rmem_alloc(rm, BYTES, attr, &addr));
		times[i] = now_ns() - began;
		must(rmem_free(rm, addr));
		total += now_ns() - began;
	}
	printf("%s\t%.0f\tns\n", name, (double)total / n);
	if (attr)
		printf("%s_alloc\t%llu\tns\n", name, (unsigned long long)median(times, n));
}

/* The clock would be most of it. */
static void warm(struct rmem *rm, uint32_t n)
{
	const uint64_t began = now_ns();
	rmem_addr_t addr;

	for (uint32_t i = 0; i < n; i++) {
		must(rmem_alloc(rm, BYTES, NULL, &addr));
		must(rmem_free(rm, addr));
	}
	printf("warm\t%.1f\tns\n", (double)(now_ns() - began) / n);
}

/* What took more than a tenth of the longest had a round trip in it. */
static void grow(struct rmem *rm, uint32_t n)
{
	uint64_t total = 0, longest;
	uint32_t fast = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint64_t began = now_ns();

		must(rmem_alloc(rm, BYTES, NULL, &cold[i]));
		times[i] = now_ns() - began;
		total += times[i];
	}
	qsort(times, n, sizeof(*times), by_size);
	longest = times[n - n / 1000 - 1];
	while (fast < n && times[fast] < longest / 10)
		fast++;
	printf("batch\t%llu\tns\n", (unsigned long long)times[fast + (n - fast) / 2]);
	printf("cold\t%.1f\tns\n", (double)total / n);
	for (uint32_t i = 0; i < n; i++)
		must(rmem_free(rm, cold[i]));
}

int main(int argc, char **argv)
{
	const struct rmem_alloc_attr block = {
		.size = sizeof(block), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ISOLATED
	};
	const uint32_t n = argc == 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	struct rmem *rm;

	if (n < 1000 || n > COLD_MAX) {
		fprintf(stderr, "usage: small-bench COUNT, 1000 to %u\n", COLD_MAX);
		return 2;
	}
	must(rmem_open(NULL, NULL, &rm));
	pairs(rm, "block", &block, n / 50);
	grow(rm, n);
	warm(rm, n);
	must(rmem_close(rm));
	return 0;
}
