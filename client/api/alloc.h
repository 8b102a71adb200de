/* SPDX-License-Identifier: BSD-3-Clause */
/* rmem_alloc() and rmem_free() where they are not warm (client/api/alloc_quick.c). Any thread. */
#ifndef RMEM_CLIENT_API_ALLOC_H
#define RMEM_CLIENT_API_ALLOC_H

#include "rmem/rmem.h"

/* caller, frame: the program's code that calls rmem_alloc(), and where rmem_alloc()'s frame ends. */
int alloc_long(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out,
	void *caller, void *frame);

int free_long(struct rmem *rm, rmem_addr_t addr, void *caller);

#endif
