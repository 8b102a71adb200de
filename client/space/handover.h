/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocations that become another session's: rmem_offer() and rmem_accept() behind their arguments. Any thread. */
#ifndef RMEM_CLIENT_SPACE_HANDOVER_H
#define RMEM_CLIENT_SPACE_HANDOVER_H

#include "client/control/session.h"
#include "rmem/rmem.h"

/* Errors as the public calls. */
int handover_offer(struct session *s, rmem_addr_t addr, uint64_t deadline_ns,
	struct offer_reply *out, struct errinfo *errinfo);
int handover_accept(struct session *s, rmem_addr_t addr, const uint8_t key[SHARE_KEY_SIZE],
	uint64_t pool, uint64_t deadline_ns, uint64_t *out_bytes, struct errinfo *errinfo);
/* An offer is taken back. 1: it is none, and nothing was done. */
int handover_withdraw(
	struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
