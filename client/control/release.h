/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks and slabs go back to the server: rmem_free() of what is no object. Any thread. */
#ifndef RMEM_CLIENT_CONTROL_RELEASE_H
#define RMEM_CLIENT_CONTROL_RELEASE_H

#include "client/control/session.h"

/*
 * What is at addr: this slab, or if it is NULL an allocation. Where something else is by now, because the one before was
 * lost and its address lent anew, that is left alone: -EINVAL. site: of the call, if release_is_told(). Errors as
 * rmem_free(), and -EALREADY: it was freed by another session, which errinfo names.
 */
int release_block(struct session *s, uint64_t addr, const struct slab *slab, uint32_t site,
	uint64_t deadline_ns, struct errinfo *errinfo);

/* Is what begins at addr, a block, or attached, one that several sessions may free, so that the server is told where? */
bool release_is_told(struct session *s, uint64_t addr);

/* With control: one FREE, as the server answers it. */
int release_call(struct session *s, const struct free_request *request, uint64_t deadline_ns,
	struct errinfo *errinfo);

#endif
