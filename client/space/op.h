/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct rmem_op, as a program describes an operation: checked, and made an operation of ours.
 */
#ifndef RMEM_CLIENT_SPACE_OP_H
#define RMEM_CLIENT_SPACE_OP_H

#include "client/data/operation.h"
#include "common/errinfo.h"
#include "rmem/rmem.h"

/* Read what the program gives, which may be of another version; flags it may have. 0, -EINVAL or -E2BIG. */
int op_read(
	const struct rmem_op *from, uint32_t flags, struct rmem_op *out, struct errinfo *errinfo);

/* Fill in all but what the caller knows of an operation: tag, fence, as_of. 0 or -EINVAL. */
int op_plan(const struct rmem_op *from, struct operation *op, struct errinfo *errinfo);

/* From now on; 0: it has no time of its own. */
void op_set_timeout(struct operation *op, int timeout_ms);

static inline enum operation_kind op_kind(const struct rmem_op *from)
{
	return (enum operation_kind)(from->kind - RMEM_OP_READ);
}

#endif
