/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registered memory through which short pieces are copied, handed out as a ring: what was taken first is
 * given back first, as a queue pair completes. What has passed through is on
 * the heap, and so in no search of the program's memory for remote addresses. Pure but for the memory; one thread.
 */
#ifndef RMEM_CLIENT_DATA_BOUNCE_H
#define RMEM_CLIENT_DATA_BOUNCE_H

#include <stddef.h>
#include <stdint.h>

#include "common/heap.h"

#define BOUNCE_BYTES ((size_t)512 << 10)
#define BOUNCE_PIECE_MAX ((size_t)64 << 10) /* several of them are on their way at once */
#define BOUNCE_ALIGN 64                     /* pieces share no cache line */

struct bounce {
	struct heap *heap;
	uint8_t *memory;
	uint64_t head,
		tail; /* positions in an endless run of bytes; tail <= head <= tail + BOUNCE_BYTES */
};

int bounce_init(struct bounce *b, struct heap *heap); /* 0 or -ENOMEM */
void bounce_destroy(struct bounce *b);

/* 1 … BOUNCE_PIECE_MAX contiguous bytes; NULL if they are not free now (never when all is). */
uint8_t *bounce_take(struct bounce *b, size_t bytes);

/*
 * Give back everything that was taken before head was this: as it was after a piece that is outstanding,
 * since the run of bytes begins anew when none is.
 */
static inline void bounce_release(struct bounce *b, uint64_t head)
{
	b->tail = head;
}

#endif
