/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/wish.h"

#include "common/addr.h"

/* A peer may send any range: drop empty ranges, clip the others to the segment. */
unsigned wish_avoid_in(const struct wish *w, unsigned segment, struct buddy_range out[AVOID_MAX])
{
	const uint64_t first = addr_make(segment, 0), last = first + ADDR_OFFSET_MASK;
	unsigned n = 0;

	for (unsigned i = 0; i < w->navoid; i++) {
		const uint64_t start = w->avoid[i].start > first ? w->avoid[i].start : first;
		const uint64_t end = w->avoid[i].end > last ? last + 1 : w->avoid[i].end;

		if (start < end)
			out[n++] = (struct buddy_range){ start - first, end - first };
	}
	return n;
}
