/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Give a mapped, bound range all its pages now, by threads that run on its node, so that nothing is
 * left to fail or to be slow later. What the pages hold already is kept.
 *
 * The kernel is asked to populate the range (MADV_POPULATE_WRITE, Linux 5.14) instead of us writing
 * to it: when the file system or the node is full that is an error here, where a write would be
 * SIGBUS, and unlike fallocate(2), which holds the inode's lock, it runs in parallel and makes huge
 * pages.
 */
#ifndef RMEM_NUMA_PREFAULT_H
#define RMEM_NUMA_PREFAULT_H

#include <stdbool.h>
#include <stdint.h>

struct topology;

/*
 * Called in the thread that called prefault_range(), with done ascending up to total. false: give up.
 */
typedef bool prefault_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes);

/*
 * addr and bytes are multiples of page_bytes. progress may be NULL. After an error some of the
 *range is populated.
 *	-ENOSPC		the file system (or hugetlbfs's pool on that node) has no page left
 *	-ENOMEM		the node, or our memory control group, has none
 *	-EAGAIN		no thread could be started
 *	-EHWPOISON	a page of it is broken
 *	-ECANCELED	progress said so
 */
int prefault_range(const struct topology *t, unsigned node, void *addr, uint64_t bytes,
	uint64_t page_bytes, prefault_progress *progress, void *arg);

#endif
