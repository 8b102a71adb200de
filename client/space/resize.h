/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An allocation that is to have another length: what it is, and how an object gets it where it lies. A block's length is
 * the server's: it keeps the one it has. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_RESIZE_H
#define RMEM_CLIENT_SPACE_RESIZE_H

#include "client/space/call.h"

struct resizable {
	rmem_addr_t addr;
	uint64_t bytes;
	struct slab *slab; /* NULL: a block */
};

/*
 * What begins at addr, and is this session's and nobody else's.
 *	-EINVAL		no allocation of this session begins there
 *	-EBUSY		it is shared
 *	-ESTALE		it is gone
 */
int resize_find(struct rmem *rm, rmem_addr_t addr, struct resizable *out, struct errinfo *errinfo);

/* A live object gets this length, which its slot has room for. Errors as resize_find(). */
int resize_object(struct rmem *rm, rmem_addr_t addr, uint32_t bytes, struct errinfo *errinfo);

/* A block may be used as one of so many bytes: not more, and it would take as many pages. */
bool resize_keeps_block(const struct resizable *block, uint64_t bytes);

#endif
