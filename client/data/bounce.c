/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/bounce.h"

#include <errno.h>

int bounce_init(struct bounce *b, struct heap *heap)
{
	b->head = b->tail = 0;
	b->heap = heap;
	b->memory = heap_alloc(heap, BOUNCE_BYTES);
	return b->memory ? 0 : -ENOMEM;
}

void bounce_destroy(struct bounce *b)
{
	heap_free(b->heap, b->memory, BOUNCE_BYTES);
	b->memory = NULL;
}

uint8_t *bounce_take(struct bounce *b, size_t bytes)
{
	size_t rounded = (bytes + BOUNCE_ALIGN - 1) & ~(size_t)(BOUNCE_ALIGN - 1);
	uint64_t start;
	size_t offset;

	if (b->head == b->tail)
		b->head = b->tail = 0; /* so that any piece fits, and the same lines stay warm */
	start = b->head;
	offset = start % BOUNCE_BYTES;
	if (offset + rounded > BOUNCE_BYTES)
		start += BOUNCE_BYTES - offset; /* not around the end */
	if (start + rounded - b->tail > BOUNCE_BYTES)
		return NULL;
	b->head = start + rounded;
	return b->memory + start % BOUNCE_BYTES;
}
