/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers the requests of docs/ADMIN.md: parses the JSON, gathers the view of the running server, waits for an audit
 * if the request needs one, and makes long reports in slices. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_COMMANDS_H
#define RMEM_SERVER_ADMIN_COMMANDS_H

#include "server/base/question.h"

struct commands;
struct event_base;
struct rights;
struct sources;

/* *from must outlive *out. -ENOMEM. */
int commands_start(struct event_base *base, const struct sources *from, struct commands **out);
void commands_stop(struct commands *c); /* NULL is fine; requires that no question is open */

/*
 * request: any bytes, NUL-terminated. rights: of the peer (server/admin/orders.h). answer() is called once, from
 * the loop or before this returns.
 */
void commands_ask(struct commands *c, const char *request, const struct rights *rights,
	struct question *q, void (*answer)(struct question *q, char *text));

#endif
