/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random scatter-gather lists, and the memory that they are about, with a model of each of its bytes.
 *
 * The remote side is a row of allocations without gaps, so that pieces often are neighbours across the end of
 * one. Local memory is of three kinds: an area that is registered, one that is not, and one that is in part.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_SHAPES_H
#define RMEM_TESTS_RXE_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/rxe/lib.h"

#define SHAPES_AREAS 3
#define SHAPES_AREA_BYTES \
	(256 * KIB) /* local; the first half is read into, the second written from */
#define SHAPES_HALF (SHAPES_AREA_BYTES / 2)
#define SHAPES_LOCAL_BYTES (SHAPES_AREAS * SHAPES_AREA_BYTES)
#define SHAPES_BLOCKS 4
#define SHAPES_BLOCK_BYTES (128 * KIB)
#define SHAPES_REMOTE_BYTES (SHAPES_BLOCKS * SHAPES_BLOCK_BYTES)
#define SHAPES_PIECES_MAX 1024
#define SHAPES_TOTAL_MAX (SHAPES_REMOTE_BYTES / 4)

#define SHAPES_BATCH_MAX 100

struct shape {
	bool write,
		overlaps; /* in local memory that is read into, or in remote memory that is written to */
	struct iovec local[SHAPES_PIECES_MAX];
	struct rmem_iovec remote[SHAPES_PIECES_MAX];
	int nlocal, nremote;
	size_t total;
};

struct shapes {
	struct rmem *rm;
	uint8_t *areas[SHAPES_AREAS];
	uint8_t *local_model; /* of all areas, one after the other */
	rmem_addr_t remote;
	uint8_t *remote_model, *scratch;
	uint64_t seed, round;
	uint64_t moved; /* bytes that must have travelled */
	size_t used
		[SHAPES_AREAS]; /* of the halves that are read into, by operations of this batch */
	struct shape *shapes;   /* of a batch */
};

void shapes_create(struct shapes *w, struct rmem *rm, uint64_t seed);
void shapes_destroy(struct shapes *w);

/* Without overlaps, operations of one batch have local memory of their own to read into. */
void shapes_make(struct shapes *w, struct shape *s, size_t total_max, bool overlaps);

/* New bytes where writes come from, and room for reads. */
void shapes_fresh_local(struct shapes *w);

/* In the model of all areas. */
size_t shapes_local_offset(const struct shapes *w, const void *p);

#endif
