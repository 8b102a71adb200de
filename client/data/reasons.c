/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/reasons.h"

#include <stdlib.h>
#include <string.h>

struct reasons *reasons_create(unsigned kept)
{
	struct reasons *r = calloc(1, sizeof(*r) + kept * sizeof(r->items[0]));

	if (r)
		r->kept = kept;
	return r;
}

uint32_t reasons_add(struct reasons *r, const struct errinfo *errinfo)
{
	const struct errinfo *last;
	struct reason *item;

	if (!r || !errinfo->text[0])
		return 0;
	last = reasons_find(r, r->last);
	if (last && strcmp(last->text, errinfo->text) == 0)
		return r->last;
	r->last = r->last == REASONS_NUMBER_MAX ? 1 : r->last + 1;
	item = &r->items[r->last % r->kept];
	item->number = r->last;
	item->errinfo = *errinfo;
	return r->last;
}

const struct errinfo *reasons_find(const struct reasons *r, uint32_t number)
{
	const struct reason *item = &r->items[number % r->kept];

	return number && item->number == number ? &item->errinfo : NULL;
}
