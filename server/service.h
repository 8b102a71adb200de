/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients can ask for: one handler per message type (docs/PROTOCOL.md). Everything in a message
 * is checked here or by the codec before it is used. The event loop only.
 */
#ifndef RMEM_SERVER_SERVICE_H
#define RMEM_SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;
struct grant;
struct server;

/* A message arrived. It is answered now or later, or the peer is cut off. */
void service_handle(struct connection *c, uint8_t *message, size_t bytes);

/* The invalidation of a grant, asked for by a FREE, is confirmed. */
void service_invalidated(struct connection *c, struct grant *g);

/*
 * Memory may have become free: try the requests that wait for it. final: nothing more will come,
 * refuse those that still do not fit.
 */
void service_retry_waiting(struct server *s, bool final);

#endif
