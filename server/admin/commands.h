/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of docs/ADMIN.md to answers: parses the JSON, gathers what a report needs to know about the
 * running server, and waits for the audit where one is asked for. The event loop only.
 */
#ifndef RMEM_SERVER_ADMIN_COMMANDS_H
#define RMEM_SERVER_ADMIN_COMMANDS_H

#include <stdbool.h>

#include "server/base/question.h"

struct answerer;
struct sources;

/* *from must stay where it is. -ENOMEM. */
int answerer_create(const struct sources *from, struct answerer **out);
void answerer_destroy(struct answerer *a); /* NULL is fine */

/*
 * request: any bytes up to their NUL. may_change: the requests that change something are allowed too. answer() is called
 * once, from the loop or before this returns.
 */
void answerer_ask(struct answerer *a, const char *request, bool may_change, struct question *q,
	void (*answer)(struct question *q, char *text));

#endif
