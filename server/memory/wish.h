/* SPDX-License-Identifier: BSD-3-Clause */
/* A request for memory. Pure. */
#ifndef RMEM_SERVER_MEMORY_WISH_H
#define RMEM_SERVER_MEMORY_WISH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/memory/buddy.h"

struct wish {
	uint64_t bytes;
	struct placement placement; /* as the peer sent it; zeroed: on any node */
	int nic; /* the node of the NIC that it came by; RANKING_NOWHERE: unknown */
	uint8_t *
		turns; /* of its session (struct ranking_question); NULL: interleaving begins anew */
	uint64_t since_ns; /* time of the request, boot clock */
	bool *taken; /* set by reclaim_seek(): memory was taken for this wish, and may not all be back yet */
	const struct range *avoid; /* addresses to avoid, in the peer's order */
	unsigned navoid;           /* at most AVOID_MAX */
};

/* The parts of avoid in a segment, as offsets. Returns their number. */
unsigned wish_avoid_in(const struct wish *w, unsigned segment, struct buddy_range out[AVOID_MAX]);

#endif
