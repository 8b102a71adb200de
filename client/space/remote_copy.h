/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes that the server moves: rmem_copy() and rmem_fill() behind their arguments. Any thread. */
#ifndef RMEM_CLIENT_SPACE_REMOTE_COPY_H
#define RMEM_CLIENT_SPACE_REMOTE_COPY_H

#include "client/space/call.h"

/* Errors as the public calls. */
int remote_copy(struct rmem *rm, rmem_addr_t dst, rmem_addr_t src, size_t bytes,
	uint64_t deadline_ns, struct errinfo *errinfo);
int remote_fill(struct rmem *rm, rmem_addr_t dst, uint8_t byte, size_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo);

#endif
