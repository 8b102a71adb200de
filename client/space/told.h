/* SPDX-License-Identifier: BSD-3-Clause */
/* What other sessions have done with what is shared, as the server tells it: for errors and reports. Any thread. */
#ifndef RMEM_CLIENT_SPACE_TOLD_H
#define RMEM_CLIENT_SPACE_TOLD_H

#include "client/space/call.h"
#include "common/message.h"

/*
 * What the server knows of the allocation that addr is in, if it is or was shared: by which sessions and where it was
 * allocated, and freed. Waits as a request does. false: nothing.
 */
bool told_ask(struct rmem *rm, rmem_addr_t addr, uint64_t deadline_ns, struct tell_reply *out);

#endif
