/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin interface (docs/ADMIN.md): requests as JSON text, answers as JSON text, over a unix socket
 * and, through admin_ask(), for whoever else brings a request. Reads only: nothing here changes what
 * is lent. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_H
#define RMEM_SERVER_ADMIN_H

#include "common/why.h"

struct admin;
struct server;

/* The answer, to be freed by who gets it; NULL: out of memory. */
typedef void (*admin_answer_fn)(void *arg, char *text);

/* Listen on the socket path; a stale socket of a dead rmemd is replaced, a living one is an error. */
int admin_start(struct server *s, struct admin **out, struct why *why);
void admin_stop(struct admin *a); /* NULL is fine */

/*
 * Answer a request (any bytes up to its NUL): answer() is called once, from the loop or before this
 * returns, unless admin_cancel() came first. 0 or -ENOMEM.
 */
int admin_ask(struct admin *a, const char *request, admin_answer_fn answer, void *arg);

/* arg is going away: drop what it asked for. */
void admin_cancel(struct admin *a, void *arg);

#endif
