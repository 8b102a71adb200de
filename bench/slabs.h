/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librmem's slabs, depot and magazines (client/slabs/) without a server: slabs and runs of pages are memory of this
 * process. Nothing is ever on its way to it, so each grace period has ended at once.
 *
 * Any thread, but one at a time.
 */
#ifndef RMEM_BENCH_SLABS_H
#define RMEM_BENCH_SLABS_H

#include <stddef.h>
#include <stdint.h>

/* Before all else; again: all is as it was. 0 or -ENOMEM. */
int slabs_open(void);
/* align: a power of 2. NULL: no memory, or no addresses left: none is used twice. */
void *slabs_alloc(size_t bytes, size_t align);
void *slabs_resize(void *p, size_t old_bytes, size_t bytes);
void slabs_free(void *p, size_t bytes);
/* Bytes that a server would have lent: slabs, and runs of pages. */
uint64_t slabs_footprint(void);
/* Slabs that a server would have lent so far, also those that were given back. */
uint64_t slabs_lent(void);
/* The slots in this thread's magazines go to the depot, and all slabs that are empty then are given back. */
void slabs_drain(void);

#endif
