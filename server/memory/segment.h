/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A segment: a stretch of the pool's memory on one node, with an arena and an allocator. Addresses contain its number
 * (common/addr.h).
 */
#ifndef RMEM_SERVER_MEMORY_SEGMENT_H
#define RMEM_SERVER_MEMORY_SEGMENT_H

#include "common/errinfo.h"
#include "server/memory/arena.h"
#include "server/memory/buddy.h"
#include "server/memory/progress.h"

struct segment {
	unsigned number;
	unsigned node;
	struct arena arena;
	struct buddy *buddy;
};

/* Its pages are not populated yet. As arena_open(), and -ENOMEM. */
int segment_open(struct segment **out, const struct arena_config *config, struct errinfo *errinfo);

/* Keeps the file. NULL is fine. */
void segment_close(struct segment *s);

/* As arena_populate(). Any thread. */
int segment_populate(const struct segment *s, const struct topology *t, struct progress *progress,
	struct errinfo *errinfo);

/* Populate all at the same time, with one progress. For the start. */
int segments_populate(struct segment *const segments[], unsigned n, const struct topology *t,
	struct errinfo *errinfo);

#endif
