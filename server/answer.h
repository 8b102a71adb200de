/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of docs/ADMIN.md to answers: parses the JSON, gathers what a report needs to know about the
 * running server, and waits for the audit where one is asked for. The event loop only.
 */
#ifndef RMEM_SERVER_ANSWER_H
#define RMEM_SERVER_ANSWER_H

#include "server/admin.h"

struct answerer;

int answerer_create(struct server *s, struct answerer **out);
void answerer_destroy(struct answerer *a); /* NULL is fine; open questions are dropped */

/* As admin_ask() and admin_cancel(). */
int answerer_ask(struct answerer *a, const char *request, admin_answer_fn answer, void *arg);
void answerer_cancel(struct answerer *a, void *arg);

#endif
