/* SPDX-License-Identifier: BSD-3-Clause */
/* In place of server/memory/wiper.c and its thread: the simulation says when it wipes, and how far. */
#include "tests/sim/wipers.h"

#include <stdlib.h>
#include <string.h>

#include "server/memory/wiper.h"
#include "tests/sim/chance.h"
#include "tests/sim/model.h"
#include "tests/sim/trace.h"

#define WIPERS_MAX 2

/* The process's memory: a killed server leaves it as it is, and its successor starts wipers anew. */
struct wiper {
	bool runs;
	struct wiper_range ring[WIPER_RANGES];
	uint64_t ngiven, ndone, ntaken;
	uint64_t at; /* bytes wiped of the oldest range that is not done */
	uint64_t bytes;
};

static struct wiper wipers[WIPERS_MAX];

void wipers_server_died(void)
{
	memset(wipers, 0, sizeof(wipers));
}

int wiper_start(struct wiper **out, const struct topology *t, unsigned node, int done_fd)
{
	(void)t;
	(void)done_fd;
	trace_require(node < WIPERS_MAX && !wipers[node].runs, "a second wiper of node %u", node);
	wipers[node] = (struct wiper){ .runs = true };
	*out = &wipers[node];
	return 0;
}

void wiper_stop(struct wiper *w)
{
	if (w)
		w->runs = false;
}

bool wiper_give(struct wiper *w, const struct wiper_range *range)
{
	if (w->ngiven - w->ntaken == SIM_WIPER_RANGES)
		return false;
	w->ring[w->ngiven++ % WIPER_RANGES] = *range;
	return true;
}

bool wiper_take(struct wiper *w, struct wiper_range *out)
{
	if (w->ntaken == w->ndone)
		return false;
	*out = w->ring[w->ntaken++ % WIPER_RANGES];
	return true;
}

/* A page, or the half of one. */
static void wipe_some(struct wiper *w)
{
	const struct wiper_range *range = &w->ring[w->ndone % WIPER_RANGES];
	const uint64_t left = range->bytes - w->at;
	const uint64_t now = left < PAGE_BYTES / 2 ? left : PAGE_BYTES / 2;

	memset(range->addr + w->at, 0, now);
	w->at += now;
	w->bytes += now;
	if (w->at < range->bytes)
		return;
	w->at = 0;
	w->ndone++;
}

void wiper_wait(struct wiper *w)
{
	while (w->ntaken == w->ndone && w->ndone < w->ngiven)
		wipe_some(w);
}

uint64_t wiper_bytes(const struct wiper *w)
{
	return w->bytes;
}

bool wipers_run(uint64_t pieces)
{
	bool done = false;

	for (unsigned i = 0; i < WIPERS_MAX; i++) {
		struct wiper *w = &wipers[i];
		const uint64_t before = w->ndone;

		for (uint64_t n = pieces; w->runs && n && w->ndone < w->ngiven; n--)
			wipe_some(w);
		done |= w->ndone != before;
	}
	return done;
}
