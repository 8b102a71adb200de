/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin interface (docs/ADMIN.md): requests as JSON text, answers as JSON text, over a unix socket.
 * No request changes what is lent. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_ADMIN_H
#define RMEM_SERVER_ADMIN_ADMIN_H

#include "common/errinfo.h"

struct admin;
struct commands;
struct event_base;
struct options;

/* Listen on the socket path. Replaces the stale socket of a dead rmemd; -EADDRINUSE if another rmemd answers there. */
int admin_start(struct event_base *base, const struct options *o, struct commands *commands,
	struct admin **out, struct errinfo *errinfo);
void admin_stop(struct admin *a); /* NULL is fine */

#endif
