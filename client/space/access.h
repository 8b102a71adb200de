/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations that the caller waits for, on the calling thread's channel. Each is a whole public call, named for the
 * log: what it returns, rmem_errmsg() tells about.
 */
#ifndef RMEM_CLIENT_SPACE_ACCESS_H
#define RMEM_CLIENT_SPACE_ACCESS_H

#include "client/space/call.h"

int access_copy(struct rmem *rm, enum operation_kind kind, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, const char *call);

int access_copy_one(struct rmem *rm, enum operation_kind kind, void *local, rmem_addr_t remote,
	size_t bytes, const char *call);

/* What the program describes; op was read by op_read(). */
int access_run(struct rmem *rm, const struct rmem_op *from, const char *call);

/* op->as_of: 0, or since when the word at the address is meant. */
int access_operate(struct rmem *rm, struct operation *op, uint64_t *out_old, const char *call);

#endif
