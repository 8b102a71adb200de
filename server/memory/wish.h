/* SPDX-License-Identifier: BSD-3-Clause */
/* What an allocation asks for. Pure. */
#ifndef RMEM_SERVER_MEMORY_WISH_H
#define RMEM_SERVER_MEMORY_WISH_H

#include <stdint.h>

#include "common/message.h"
#include "server/memory/buddy.h"

struct wish {
	uint64_t bytes;
	int node;          /* or -1: any */
	uint64_t since_ns; /* when it was asked for, on the boot clock */
	const struct range
		*avoid;  /* where it must not be, in the order in which a peer has sent it */
	unsigned navoid; /* at most AVOID_MAX */
};

/* The parts of avoid that are on a node, as offsets in its arena. Returns how many. */
unsigned wish_avoid_on(const struct wish *w, unsigned node, struct buddy_range out[AVOID_MAX]);

#endif
