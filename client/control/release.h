/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks and slabs go back to the server: rmem_free() of what is no object. Any thread. */
#ifndef RMEM_CLIENT_CONTROL_RELEASE_H
#define RMEM_CLIENT_CONTROL_RELEASE_H

#include "client/control/session.h"

/* addr: of an allocation, or of a slab. Errors as rmem_free(). */
int release_block(struct session *s, uint64_t addr, uint64_t deadline_ns, struct errinfo *errinfo);

/* With control: one FREE, as the server answers it. */
int release_call(struct session *s, const struct free_request *request, uint64_t deadline_ns,
	struct errinfo *errinfo);

#endif
