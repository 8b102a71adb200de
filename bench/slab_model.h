/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simple reference for how librmem cuts objects out of slabs (common/size_class.h): the same geometry, but its memory
 * is this process's own, and nothing is fast. It is there to compare policies on traces.
 *
 * One thread at a time. Each thread has magazines, which are part of what is measured: what lies in them is in no
 * other thread's reach, and its slabs cannot be given back.
 */
#ifndef RMEM_BENCH_SLAB_MODEL_H
#define RMEM_BENCH_SLAB_MODEL_H

#include <stddef.h>
#include <stdint.h>

struct slab_policy {
	/* The next slab of a class has a share of the bytes that the class's slabs have, within bounds. */
	uint32_t slab_bytes_min, slab_bytes_max;
	uint32_t share;
	/* Empty slabs are kept up to a share of all bytes, the oldest goes first. */
	uint32_t kept_share;
	/* Slots in a magazine: so many bytes, at most MAGAZINE_SLOTS. */
	uint32_t magazine_bytes;
	/* Whatever is larger is a run of pages by itself. */
	uint32_t object_bytes_max;
};

#define MAGAZINE_SLOTS 64U

extern const struct slab_policy slab_policy_shares, slab_policy_fixed;

/* Whole pages: how long the next slab of a class is whose slabs have so many bytes. */
uint32_t slab_policy_length(const struct slab_policy *p, unsigned size_class, uint64_t class_bytes);

/* Before all else, and again when all is free and every magazine flushed. 0 or -ENOMEM. */
int slab_model_open(const struct slab_policy *p);
/* NULL: no memory, or no addresses left. */
void *slab_model_alloc(size_t bytes, size_t align);
void *slab_model_resize(void *p, size_t old_bytes, size_t bytes);
void slab_model_free(void *p, size_t bytes);
/* What a server would have lent: slabs and runs of pages. */
uint64_t slab_model_footprint(void);
/* Slots in this thread's magazines go back to their slabs. */
void slab_model_flush(void);

#endif
