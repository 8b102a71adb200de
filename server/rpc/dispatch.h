/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes clients' messages (docs/PROTOCOL.md) to their handlers (server/rpc/handlers.h), if allowed on that connection.
 * The codec or server/rpc/ checks every field before it is used. The event loop only.
 */
#ifndef RMEM_SERVER_RPC_DISPATCH_H
#define RMEM_SERVER_RPC_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

/* A net_events.message. The message is answered now or later, or its connection is aborted. */
void rpc_dispatch(struct connection *c, uint8_t *message, size_t bytes);

#endif
