/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What operators order (docs/ADMIN.md): evict a session, revoke an allocation, reclaim now, resize the pool, other
 * quotas, another log level. What takes memory away can be previewed: the answer says what would be lost, and nothing is done. Everything in a request is checked here, and
 * whether the peer may order anything. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_ORDERS_H
#define RMEM_SERVER_ADMIN_ORDERS_H

#include <jansson.h>

#include "server/admin/report.h"
#include "server/base/question.h"

struct sources;
struct view;

/* What the peer may do besides reading reports. */
struct rights {
	bool acknowledge; /* it is on the admin socket */
	bool order;       /* ... and is root or the user that rmemd runs as */
	uint32_t uid;     /* who it is, for the log, if it is on the socket */
};

struct order; /* one that is being carried out: its answer is made, and waits for the end of access */

struct orders {
	const struct sources *from;
	struct view *view; /* to be filled here */
	/* Takes over report (NULL: out of memory). */
	void (*deliver)(void *context, struct report *report, struct question *q);
	void *context;
	struct order *open;
};

bool orders_know(const char *cmd, const json_t *request);

/* For a command that is known. deliver() is called once, now or later, unless the question is cancelled. */
void orders_take(struct orders *o, const char *cmd, const json_t *request,
	const struct rights *rights, struct question *q);

/* Their questions are cancelled already. */
void orders_drop(struct orders *o);

#endif
