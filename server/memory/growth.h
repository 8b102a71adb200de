/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running pool becomes larger and smaller by whole segments. A thread per segment makes new memory ready (populates and
 * registers it), or gives back that of a removed segment; the event loop goes on meanwhile, and adds a segment to the pool
 * when its thread is done.
 *
 * Event loop thread only.
 */
#ifndef RMEM_SERVER_MEMORY_GROWTH_H
#define RMEM_SERVER_MEMORY_GROWTH_H

#include "server/memory/datadir.h"
#include "server/memory/limits.h"
#include "server/memory/pool.h"

struct growth_job;

struct growth {
	struct pool *pool;
	const struct datadir *data;
	struct topology *topology;
	unsigned connections; /* whose memory has to be lockable beside the pool's */
	/* Devices: let them reach a segment; it is not reached any more. Any thread. May be NULL: there are none. */
	int (*reach)(void *context, const struct segment *s, struct progress *progress,
		struct errinfo *errinfo);
	void (*leave)(void *context, unsigned number);
	void *context;
	int done_fd; /* readable when growth_finish() has something to do. Nonblocking */
	struct growth_job *jobs;
	struct errinfo failure; /* why the last segment was not made; "": it was */
};

/* What resizing comes to, for a node. */
struct growth_node {
	unsigned node;
	uint64_t was_bytes, wanted_bytes;
	uint64_t size_bytes;   /* in service now */
	uint64_t coming_bytes; /* being made ready */
	int in_the_way;        /* a segment that would have to be empty; -1: none */
};

struct growth_outcome {
	size_t count;
	struct growth_node nodes[ADDR_MAX_NODES];
};

/* The fields before done_fd are set. */
int growth_open(struct growth *g, struct errinfo *errinfo);

/* What is not ready is undone. Fine if not open and zeroed. */
void growth_close(struct growth *g);

/* Begin to make what the pool lacks of these sizes, whose limits have been checked. */
int growth_begin(struct growth *g, const struct sizes *sizes, struct errinfo *errinfo);

/*
 * Begin to give the listed nodes these sizes; others stay. Larger: a segment is made for the rest, after the limits were
 * checked as at the start. Smaller: empty segments leave the pool at once, the largest that fit first, and their memory is
 * given back. -EBUSY: a change is under way. As limits_check() and pool_make_segment(); then a part may have begun.
 */
int growth_resize(struct growth *g, const struct sizes *wanted, struct growth_outcome *out,
	struct errinfo *errinfo);

/* Add segments that are ready. true: the pool has become larger. */
bool growth_finish(struct growth *g);

/* Memory that is being made ready, and how much of it is. */
uint64_t growth_coming_bytes(const struct growth *g, uint64_t *out_ready_bytes);

#endif
