/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/site_cache.h"

#include <string.h>

static bool is_same_place(const struct site_cache_entry *e, const void *caller, const void *frame)
{
	if (e->caller != caller || e->frame != frame)
		return false;
	for (uint32_t i = 0; i < e->n; i++)
		if (*e->further[i].place != e->further[i].there)
			return false;
	return true;
}

void site_cache_note(struct site_cache *c, const void *caller, const void *frame, uint64_t version,
	const struct stack *stack, uint32_t number)
{
	struct site_cache_entry *e = site_cache_at(c, caller, frame);
	bool trusted = true;

	if (c->version != version)
		memset(c, 0, sizeof(*c));
	c->version = version;
	/* What looks the same from here is another stack further out. */
	if (is_same_place(e, caller, frame))
		trusted = e->left && e->site == object_record_site(number);
	for (unsigned i = 0; i + 1 < stack->depth; i++)
		trusted &= stack->places[i] != NULL;
	*e = (struct site_cache_entry){ .caller = caller,
		.frame = frame,
		.site = object_record_site(number),
		.left = trusted ? SITE_CACHE_SAMPLE : 0 };
	for (unsigned i = 0; trusted && i + 1 < stack->depth; i++, e->n++) {
		e->further[i].place = stack->places[i];
		e->further[i].there = *stack->places[i];
	}
}
