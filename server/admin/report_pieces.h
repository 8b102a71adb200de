/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A report as text, made in pieces: the head, one list element at a time, the tail. The caller can do other work
 * between pieces. The state may change meanwhile: each element is right when it is made.
 */
#ifndef RMEM_SERVER_ADMIN_REPORT_PIECES_H
#define RMEM_SERVER_ADMIN_REPORT_PIECES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/report_parts.h"

/* First member of each kind's own struct. */
struct report {
	json_t *head;     /* an object; the whole report if list is NULL */
	const char *list; /* key of the list, or NULL */
	json_t *tail;     /* an object whose keys follow the list, or NULL */
	/* The next element; NULL: end of the list, or out of memory (d->failed). */
	json_t *(*next)(struct report *r, struct draft *d);
	void (*end)(struct report *r); /* frees what next() needs; or NULL */
	enum { REPORT_HEAD, REPORT_FIRST, REPORT_LATER } stage;
};

struct text {
	char *at; /* NUL-terminated once anything was written; for free(3) */
	size_t bytes, room;
};

/* bytes: size of the kind's own struct; it is zeroed. NULL: out of memory. */
struct report *report_begin(size_t bytes);
void report_end(struct report *r); /* NULL is fine */

/* A report without a list. Takes over answer; NULL gives NULL. */
struct report *report_of(json_t *answer);

/* Append the next piece. 1: more to write, 0: that was the last, -ENOMEM. */
int report_write(struct report *r, const struct report_view *view, struct text *out);

#endif
