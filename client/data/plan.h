/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scatter-gather planner: two lists of pieces, taken as one run of bytes each, cut into segments
 * that are contiguous on both sides. Everything about the lists themselves is checked in
 * plan_start(), before the first segment exists; the caller then checks each remote piece.
 *
 * A plan is a value: copy it to remember a position. It needs no memory and keeps the caller's lists
 * by reference. Pure; one thread.
 */
#ifndef RMEM_CLIENT_DATA_PLAN_H
#define RMEM_CLIENT_DATA_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/errinfo.h"
#include "rmem/rmem.h"

#define PLAN_PIECES_MAX 1024 /* per list: IOV_MAX */
/* rxe's reads collapse on slow links from 2 MiB on, and a smaller unit lets others get in between. */
#define PLAN_SEGMENT_MAX (1UL << 20)

struct plan {
	const struct iovec *local;
	const struct rmem_iovec *remote;
	int nlocal, nremote;
	int ilocal, iremote;    /* current pieces */
	size_t olocal, oremote; /* offsets in them */
	size_t left;            /* bytes from here to the end */
};

struct plan_segment {
	void *local;
	rmem_addr_t remote;
	size_t len;      /* 1 … PLAN_SEGMENT_MAX */
	int local_piece; /* index of the local piece that holds it */
};

/*
 * -EINVAL: a count below 0 or above PLAN_PIECES_MAX, a list or a non-empty local piece that is NULL,
 * a local piece that wraps around, more than SSIZE_MAX bytes, totals that differ. Where the remote
 * pieces lie is not checked here.
 */
int plan_start(struct plan *p, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, struct errinfo *errinfo);

/* The segment at the current position, as long as possible; false at the end. */
bool plan_peek(const struct plan *p, struct plan_segment *out);

/* Move on by n bytes, over any number of segments; not beyond the end. */
void plan_advance(struct plan *p, size_t n);

/* Copy bytes between the pieces from here on and memory: out of that, or into it. */
void plan_copy(struct plan at, uint8_t *memory, size_t bytes, bool out);

#endif
