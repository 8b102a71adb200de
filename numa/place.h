/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting memory and threads onto a NUMA node. Memory is bound strictly: a page that the node
 * cannot give is an error, never a page of another node. Any thread.
 */
#ifndef RMEM_NUMA_PLACE_H
#define RMEM_NUMA_PLACE_H

#include <stddef.h>

struct topology;

/*
 * Bind a mapped range, before its pages are touched. A shared mapping of a tmpfs or hugetlbfs file
 * passes the binding on to the file's pages, whichever thread touches them, for as long as the file exists.
 * Where there is only one node there is nothing to bind, and a kernel without NUMA will do. -ENODEV no such node,
 * or errno of mbind(2).
 */
int place_memory(const struct topology *t, unsigned node, void *addr, size_t bytes);

/* Run the calling thread on the node's CPUs. -ENODEV no such node, or it has no CPUs. */
int place_thread(const struct topology *t, unsigned node);

#endif
