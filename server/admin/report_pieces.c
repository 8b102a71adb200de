/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/report_pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct report *report_begin(size_t bytes)
{
	return calloc(1, bytes);
}

void report_end(struct report *r)
{
	if (!r)
		return;
	if (r->end)
		r->end(r);
	json_decref(r->head);
	json_decref(r->tail);
	free(r);
}

struct report *report_of(json_t *answer)
{
	struct report *r = answer ? report_begin(sizeof(*r)) : NULL;

	if (!r) {
		json_decref(answer);
		return NULL;
	}
	r->head = answer;
	return r;
}

static int append(const char *bytes, size_t n, void *text)
{
	struct text *t = text;

	if (t->room - t->bytes <= n) {
		size_t room = t->room ? 2 * t->room : 4096;
		char *at;

		while (room - t->bytes <= n)
			room *= 2;
		at = realloc(t->at, room);
		if (!at)
			return -1;
		t->at = at;
		t->room = room;
	}
	memcpy(t->at + t->bytes, bytes, n);
	t->bytes += n;
	t->at[t->bytes] = '\0';
	return 0;
}

static int append_text(struct text *t, const char *text)
{
	return append(text, strlen(text), t);
}

static int append_json(struct text *t, const json_t *value)
{
	return json_dump_callback(value, append, t, JSON_COMPACT);
}

/* Leaves the object open for the list. */
static int write_head(struct report *r, struct text *out)
{
	if (append_json(out, r->head))
		return -ENOMEM;
	if (!r->list)
		return 0;
	out->bytes--;
	if (append_text(out, ",\"") || append_text(out, r->list) || append_text(out, "\":["))
		return -ENOMEM;
	r->stage = REPORT_FIRST;
	return 1;
}

static int write_tail(const struct report *r, struct text *out)
{
	size_t begin;

	if (append_text(out, "]"))
		return -ENOMEM;
	begin = out->bytes;
	if (!r->tail)
		return append_text(out, "}") ? -ENOMEM : 0;
	if (append_json(out, r->tail))
		return -ENOMEM;
	out->at[begin] = ','; /* replaces '{': the tail's keys continue the head's object */
	return 0;
}

int report_write(struct report *r, const struct report_view *view, struct text *out)
{
	struct draft d = { .view = view };
	json_t *element;
	bool failed;

	if (r->stage == REPORT_HEAD)
		return write_head(r, out);
	element = r->next(r, &d);
	if (!element)
		return d.failed ? -ENOMEM : write_tail(r, out);
	failed = d.failed || (r->stage == REPORT_LATER && append_text(out, ",")) ||
		 append_json(out, element);
	json_decref(element);
	r->stage = REPORT_LATER;
	return failed ? -ENOMEM : 1;
}
