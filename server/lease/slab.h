/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what a session has written about the objects of its slab. The session may be writing meanwhile: each record is
 * read at once, and nothing else is certain about it. The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_SLAB_H
#define RMEM_SERVER_LEASE_SLAB_H

#include <stdint.h>

struct allocation;
struct leases;

/*
 * The record of a slot of a LIVE slab. If it names a call site that the session was not told, it is returned as
 * unused with a site, which cannot be true; not if the session is unknown or has given up its sites.
 */
uint64_t slab_record(const struct leases *l, const struct allocation *slab, uint32_t slot);

/* The same for the first n slots; arg is a struct leases. It is a pass_source's read(). */
void slab_read(void *arg, const struct allocation *slab, uint64_t *words, uint32_t n);

#endif
