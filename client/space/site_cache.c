/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/site_cache.h"

#include <string.h>

void site_cache_note(struct site_cache *c, const void *caller, const void *frame, uint64_t version,
	const struct stack *stack, uint32_t number)
{
	struct site_cache_entry *e = site_cache_at(c, caller, frame);
	bool trusted = true;
	unsigned n = 0;

	if (c->version != version)
		memset(c, 0, sizeof(*c));
	c->version = version;
	/* What looks the same from here is another stack further out. */
	if (e->caller == caller && e->frame == frame && site_cache_is_same(e))
		trusted = e->left && e->site == object_record_site(number);
	for (unsigned i = 0; i + 1 < stack->depth; i++)
		trusted &= stack->places[i] != NULL;
	*e = (struct site_cache_entry){ .caller = caller,
		.frame = frame,
		.site = object_record_site(number),
		.left = trusted ? SITE_CACHE_SAMPLE : 0 };
	for (unsigned i = 0; trusted && i + 1 < stack->depth; i++)
		e->further[n++] = (struct site_cache_place){ stack->places[i], *stack->places[i] };
	while (n % SITE_CACHE_GROUP)
		e->further[n++] = (struct site_cache_place){ &e->caller, caller };
	e->end = e->further + n;
}
