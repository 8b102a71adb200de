/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients can ask for (docs/PROTOCOL.md): which message is allowed on which connection, and what
 * answers it (server/rpc/handlers.h). Everything in a message is checked here or by the codec before it is
 * used. The event loop only.
 */
#ifndef RMEM_SERVER_RPC_DISPATCH_H
#define RMEM_SERVER_RPC_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

/* A net_events.message: it is answered now or later, or the peer is cut off. */
void rpc_dispatch(struct connection *c, uint8_t *message, size_t bytes);

#endif
