/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/reach_edges.h"

#include <errno.h>
#include <stdlib.h>

#define BATCH 64
#define ROOM_MIN 1024U

int reach_edges_open(struct reach_edges *e, uint32_t first, uint32_t n, uint32_t limit)
{
	uint32_t *ends = malloc(((size_t)n + 1) * sizeof(*ends));

	if (!ends)
		return -ENOMEM;
	*e = (struct reach_edges){ .first = first, .n = n, .ends = ends, .limit = limit };
	return 0;
}

void reach_edges_close(struct reach_edges *e)
{
	free(e->ends);
	free(e->targets);
	*e = (struct reach_edges){ .n = 0 };
}

static int make_room(struct reach_edges *e)
{
	const uint64_t doubled = e->room ? (uint64_t)e->room * 2 : ROOM_MIN;
	const uint32_t room = doubled < e->limit ? (uint32_t)doubled : e->limit;
	reach_target *targets;

	if (e->ntargets == e->limit)
		return -ENOSPC;
	targets = realloc(e->targets, (size_t)room * sizeof(*targets));
	if (!targets)
		return -ENOMEM;
	e->targets = targets;
	e->room = room;
	return 0;
}

static int add_one(struct reach_edges *e, uint32_t block, reach_target target)
{
	const uint32_t i = block - e->first;
	const uint32_t from = i == 0 ? 0 : i <= e->nends ? e->ends[i - 1] : e->ntargets;
	int err;

	if (block < e->first || i >= e->n || i + 1 < e->nends)
		return -EINVAL;
	if (target == REACH_NOTHING || reach_target_block(target) == block)
		return 0;
	if (e->ntargets > from && e->targets[e->ntargets - 1] == target)
		return 0;
	if (e->ntargets == e->room) {
		err = make_room(e);
		if (err)
			return err;
	}
	while (e->nends <= i)
		e->ends[e->nends++] = e->ntargets;
	e->targets[e->ntargets++] = target;
	e->ends[i] = e->ntargets;
	return 0;
}

int reach_edges_add(struct reach_edges *e, const struct reach_blocks *blocks,
	const struct reach_word *words, size_t n)
{
	uint64_t some[BATCH];
	reach_target targets[BATCH];
	int err = 0;

	for (size_t done = 0; done < n && !err; done += BATCH) {
		const size_t batch = n - done < BATCH ? n - done : BATCH;

		for (size_t i = 0; i < batch; i++)
			some[i] = words[done + i].word;
		reach_blocks_find(blocks, some, batch, targets);
		for (size_t i = 0; i < batch && !err; i++)
			err = add_one(e, words[done + i].block, targets[i]);
	}
	return err;
}
