/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A report as text, made in pieces: what comes before its list, one element of the list at a time, what comes after. So
 * the code that asks for a long one can do something else in between. The state may change meanwhile: each element is
 * right when it is made.
 */
#ifndef RMEM_SERVER_ADMIN_REPORT_PIECES_H
#define RMEM_SERVER_ADMIN_REPORT_PIECES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/report_parts.h"

/* A kind of report has more behind it. */
struct report {
	json_t *head;     /* an object; all of the report if there is no list */
	const char *list; /* its key, or NULL */
	json_t *tail;     /* an object, or NULL */
	/* The next element; NULL: there is none, or no memory (d->failed). */
	json_t *(*next)(struct report *r, struct draft *d);
	void (*end)(struct report *r); /* frees what next() needs; or NULL */
	enum { REPORT_HEAD, REPORT_FIRST, REPORT_LATER } stage;
};

struct text {
	char *at; /* ends with a NUL once anything was written; for free(3) */
	size_t bytes, room;
};

/* bytes: of the kind's own struct, zeroed, which begins with struct report. NULL: no memory. */
struct report *report_begin(size_t bytes);
void report_end(struct report *r); /* NULL is fine */

/* An answer without a list. Takes it over; NULL gives NULL. */
struct report *report_of(json_t *answer);

/* Append the next piece. 1: there is more, 0: that was the last, -ENOMEM. */
int report_write(struct report *r, const struct report_view *view, struct text *out);

#endif
