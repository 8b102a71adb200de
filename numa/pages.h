/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the pages of a mapped range are: asked from the kernel (move_pages(2) without a
 * destination), never inferred from what was bound. Nothing is touched or moved. Any thread.
 */
#ifndef RMEM_NUMA_PAGES_H
#define RMEM_NUMA_PAGES_H

#include <stdint.h>

struct pages_count {
	uint64_t total;   /* pages in the range */
	uint64_t checked; /* of them: all, or evenly spread samples; the sum of the three below */
	uint64_t on_node;
	uint64_t elsewhere;
	uint64_t absent; /* not in this process's page table */
};

/*
 * addr is a multiple of page_bytes; a started page counts. At most max_checked pages are asked for
 * (0: no limit): page size and limit decide the cost, about 0.2 us a page.
 * -EINVAL for a page size that is no power of two, or errno of move_pages(2).
 */
int pages_locate(const void *addr, uint64_t bytes, uint64_t page_bytes, unsigned node,
	uint64_t max_checked, struct pages_count *out);

#endif
