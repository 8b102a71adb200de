/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a program wants memory: a struct rmem_alloc_attr in the words of the protocol. Any thread. */
#ifndef RMEM_CLIENT_API_PLACEMENT_H
#define RMEM_CLIENT_API_PLACEMENT_H

#include <stdbool.h>

#include "client/space/call.h"

/* -EINVAL: it names what cannot be, or what its policy does not take. */
int placement_read(struct rmem *rm, const struct rmem_alloc_attr *attr, struct placement *out,
	struct errinfo *errinfo);

/* Wherever the server likes. */
static inline bool placement_is_any(const struct placement *p)
{
	return p->policy == PLACEMENT_DEFAULT && !p->nodes;
}

#endif
