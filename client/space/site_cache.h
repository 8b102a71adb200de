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
/* Compared together, without a branch; the last group is filled up with what is always the same. */
#define SITE_CACHE_GROUP 4U
#define SITE_CACHE_PLACES \
	((STACK_PLACES + SITE_CACHE_GROUP - 1) / SITE_CACHE_GROUP * SITE_CACHE_GROUP)

/* Where a return address was, and which. */
struct site_cache_place {
	const void *const *place;
	const void *there;
};

struct site_cache_entry {
	const void *caller; /* NULL: none */
	const void *frame;
	uint64_t site; /* as a record has it */
	uint32_t left; /* uses until it is unwound all the same; 0: it is not trusted */
	/* The further return addresses, whole groups of them. */
	const struct site_cache_place *end;
	struct site_cache_place further[SITE_CACHE_PLACES];
} __attribute__((aligned(64)));

struct site_cache {
	uint64_t version; /* of the numbers: those of another one are forgotten */
	struct site_cache_entry entries[SITE_CACHE_ENTRIES];
};

static inline struct site_cache_entry *site_cache_at(
	struct site_cache *c, const void *caller, const void *frame)
{
	const uintptr_t mixed = (uintptr_t)caller ^ (uintptr_t)frame >> 4;
	struct site_cache_entry *e = &c->entries[mixed & (SITE_CACHE_ENTRIES - 1)];

	/* It is kept: gcc would keep what it is computed of, and compute it again. */
	__asm__("" : "+r"(e));
	return e;
}

/* Are the further return addresses where they were? */
static inline bool site_cache_is_same(const struct site_cache_entry *e)
{
	for (const struct site_cache_place *p = e->further; p < e->end; p += SITE_CACHE_GROUP) {
		uintptr_t differ = (uintptr_t)*p[0].place ^ (uintptr_t)p[0].there;

		differ |= (uintptr_t)*p[1].place ^ (uintptr_t)p[1].there;
		differ |= (uintptr_t)*p[2].place ^ (uintptr_t)p[2].there;
		differ |= (uintptr_t)*p[3].place ^ (uintptr_t)p[3].there;
		if (__builtin_expect(differ != 0, 0))
			return false;
	}
	return true;
}

/* object_record_site() for the stack that the thread has now. false: it has to be unwound. */
static inline bool site_cache_find(struct site_cache *c, const void *caller, const void *frame,
	uint64_t version, uint64_t *out_site)
{
	struct site_cache_entry *e = site_cache_at(c, caller, frame);

	if (__builtin_expect(e->caller != caller || e->frame != frame || c->version != version ||
				     e->left <= 1,
		    0) ||
		!site_cache_is_same(e))
		return false;
	e->left--;
	*out_site = e->site;
	return true;
}

/* The stack was unwound, and has this number. */
void site_cache_note(struct site_cache *c, const void *caller, const void *frame, uint64_t version,
	const struct stack *stack, uint32_t number);

#endif
