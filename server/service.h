/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients can ask for (docs/PROTOCOL.md): which message is allowed on which connection, and what
 * answers it (server/handlers.h). Everything in a message is checked here or by the codec before it is
 * used. The event loop only.
 */
#ifndef RMEM_SERVER_SERVICE_H
#define RMEM_SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct allocation;
struct connection;
struct server;
struct session;

/* A message arrived. It is answered now or later, or the peer is cut off. */
void service_handle(struct connection *c, uint8_t *message, size_t bytes);

/* The last connection of an earlier life of the session is gone that this HELLO waits for. */
void service_resume(struct connection *c);

/* The channel is gone that this JOIN replaces. */
void service_rejoin(struct connection *c);

/* The last grant of an allocation is confirmed gone; a FREE may wait for that. */
void service_freed(struct server *s, const struct allocation *a);
/* ... and never will be. */
void service_stuck(struct server *s, const struct allocation *a);

/* A grant that a session had on an allocation has ended; its DETACH may wait for the last. */
void service_detached(struct server *s, const struct allocation *a, struct session *session);
/* ... and one never will. */
void service_detach_stuck(struct server *s, const struct allocation *a, struct session *session);

/*
 * Memory may have become free: try the requests that wait for it, and refuse those for which nothing
 * more will come.
 */
void service_retry_waiting(struct server *s);

#endif
