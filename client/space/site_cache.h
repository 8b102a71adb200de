/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread's memory of call sites: which number the stack has that it allocates from. Unwinding a stack takes thousands
 * of instructions; a thread mostly allocates from stacks that it had before.
 *
 * A stack is recognised by the caller's return address, the caller's frame, and all further return addresses, which are
 * looked at where they were the last time: it is the stack that was unwound, if its frames are where they were. That
 * they are is tried: one in SITE_CACHE_SAMPLE is unwound all the same, and a place where that finds another stack is not
 * trusted again.
 *
 * The thread.
 */
#ifndef RMEM_CLIENT_SPACE_SITE_CACHE_H
#define RMEM_CLIENT_SPACE_SITE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/control/site.h"
#include "common/heap.h"
#include "common/object_record.h"

#define SITE_CACHE_ENTRIES 64U /* a power of 2 */
#define SITE_CACHE_SAMPLE 1024U

struct site_cache_entry {
	const void *caller; /* NULL: none */
	const void *frame;
	uint64_t site; /* as a record has it */
	uint32_t left; /* uses until it is unwound all the same; 0: it is not trusted */
	uint32_t n;    /* of the further return addresses */
	struct {
		const void *const *place;
		const void *there;
	} further[STACK_PLACES];
};

struct site_cache {
	uint64_t version; /* of the numbers: those of another one are forgotten */
	struct site_cache_entry entries[SITE_CACHE_ENTRIES];
};

static inline struct site_cache_entry *site_cache_at(
	struct site_cache *c, const void *caller, const void *frame)
{
	const uintptr_t mixed = (uintptr_t)caller ^ (uintptr_t)frame >> 4;

	return &c->entries[mixed & (SITE_CACHE_ENTRIES - 1)];
}

/* object_record_site() for the stack that the thread has now. false: it has to be unwound. */
static inline bool site_cache_find(struct site_cache *c, const void *caller, const void *frame,
	uint64_t version, uint64_t *out_site)
{
	struct site_cache_entry *e = site_cache_at(c, caller, frame);

	if (__builtin_expect(e->caller != caller || e->frame != frame || c->version != version ||
				     e->left <= 1,
		    0))
		return false;
	for (uint32_t i = e->n; i-- > 0;)
		if (*e->further[i].place != e->further[i].there)
			return false;
	e->left--;
	*out_site = e->site;
	return true;
}

/* The stack was unwound, and has this number. */
void site_cache_note(struct site_cache *c, const void *caller, const void *frame, uint64_t version,
	const struct stack *stack, uint32_t number);

#endif
