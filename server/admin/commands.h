/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of docs/ADMIN.md to answers: parses the JSON, gathers what a report needs to know about the
 * running server, waits for the audit where one is asked for, and makes long reports in slices. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_COMMANDS_H
#define RMEM_SERVER_ADMIN_COMMANDS_H

#include <stdbool.h>

#include "server/base/question.h"

struct commands;
struct event_base;
struct sources;

/* *from must stay where it is. -ENOMEM. */
int commands_start(struct event_base *base, const struct sources *from, struct commands **out);
void commands_stop(struct commands *c); /* NULL is fine; nobody waits any more */

/*
 * request: any bytes up to their NUL. may_change: the requests that change something are allowed too. answer() is called
 * once, from the loop or before this returns.
 */
void commands_ask(struct commands *c, const char *request, bool may_change, struct question *q,
	void (*answer)(struct question *q, char *text));

#endif
