/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that sessions share: rmem_share(), rmem_unshare(), rmem_attach() and rmem_detach() behind their arguments.
 * Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_SHARING_H
#define RMEM_CLIENT_SPACE_SHARING_H

#include "client/space/call.h"
#include "rmem/rmem.h"

/* Errors as the public calls. */
int sharing_share(struct rmem *rm, rmem_addr_t addr, enum share_rights rights, uint64_t deadline_ns,
	struct share_reply *out, struct errinfo *errinfo);
int sharing_unshare(
	struct rmem *rm, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo);
int sharing_attach(struct session *s, rmem_addr_t addr, const uint8_t key[SHARE_KEY_SIZE],
	uint64_t pool, uint64_t deadline_ns, uint64_t *out_bytes, struct errinfo *errinfo);
int sharing_detach(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo);
/* ... if the block there still has this serial in the session's table. 0 also if it has another, or there is none. */
int sharing_detach_block(struct session *s, rmem_addr_t addr, uint64_t serial, uint64_t deadline_ns,
	struct errinfo *errinfo);

#endif
