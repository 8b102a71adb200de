/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin interface (docs/ADMIN.md): requests as JSON text, answers as JSON text, over a unix socket
 * and, through admin_ask(), for others who bring a request. Reads only: nothing here changes what
 * is lent. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_ADMIN_H
#define RMEM_SERVER_ADMIN_ADMIN_H

#include "common/why.h"
#include "server/base/wait.h"

struct admin;
struct answerer;
struct server;

/* A request that is not answered yet, kept by who asks. wait_cancel(&q->wait) takes it back. */
struct question {
	struct wait wait;
	struct answerer *answerer;
	/* The answer, to be freed by who gets it; NULL: out of memory. */
	void (*answer)(struct question *q, char *text);
};

/* Listen on the socket path; a stale socket of a dead rmemd is replaced, a living one is an error. */
int admin_start(struct server *s, struct admin **out, struct why *why);
void admin_stop(struct admin *a); /* NULL is fine */

/* Answer a request (any bytes up to its NUL): answer() is called once, from the loop or before this returns. */
void admin_ask(struct admin *a, const char *request, struct question *q,
	void (*answer)(struct question *q, char *text));

#endif
