/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a slab's owner writes about each slot, one-sided, into the slab itself: 8 bytes in the order of the writer's
 * machine, all little endian today.
 *
 *	bits 0 and 1	state
 *	bits 2 to 12	generation: of the slot, one more with each allocation
 *	bits 13 to 24	slack: bytes of the slot that were not asked for
 *	bits 25 to 38	site: the server's number of the call site that allocated it; 0: unknown
 *	bits 39 to 63	birth: whole seconds from the session's opening to the allocation; the largest: or later
 *
 * A record is idempotent: writing it twice, or only the last of several, tells the same. All zero, as memory comes from
 * the server: never used. The server trusts none of it.
 *
 * While an object is shared so that others may free it, its owner writes its record no more: the server changes it, when
 * one of these sessions or the owner asks (server/rpc/release.c).
 *
 * Pure.
 */
#ifndef RMEM_COMMON_OBJECT_RECORD_H
#define RMEM_COMMON_OBJECT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

enum object_state {
	OBJECT_UNUSED = 0, /* never allocated in this slab: its bytes are zero */
	OBJECT_LIVE = 1,
	OBJECT_FREED =
		2, /* it, and its site and birth, are those of the object that was there last */
	OBJECT_TAKEN =
		3, /* the same, and another session that shared it has freed it: the server has written that */
};

#define OBJECT_GENERATION_SHIFT 2
#define OBJECT_GENERATION_MAX 0x7ffU
#define OBJECT_SLACK_SHIFT 13
#define OBJECT_SLACK_MAX 0xfffU
#define OBJECT_SITE_SHIFT 25
#define OBJECT_SITE_MAX 0x3fffU
#define OBJECT_BIRTH_SHIFT 39
#define OBJECT_BIRTH_MAX 0x1ffffffU /* s: 388 days */

struct object_record {
	enum object_state state;
	uint32_t generation, slack, site, birth_s;
};

static inline uint64_t object_record_pack(const struct object_record *r)
{
	return (uint64_t)r->state |
	       (uint64_t)(r->generation & OBJECT_GENERATION_MAX) << OBJECT_GENERATION_SHIFT |
	       (uint64_t)(r->slack & OBJECT_SLACK_MAX) << OBJECT_SLACK_SHIFT |
	       (uint64_t)(r->site & OBJECT_SITE_MAX) << OBJECT_SITE_SHIFT |
	       (uint64_t)(r->birth_s & OBJECT_BIRTH_MAX) << OBJECT_BIRTH_SHIFT;
}

static inline struct object_record object_record_unpack(uint64_t word)
{
	return (struct object_record){
		.state = (enum object_state)(word & 3),
		.generation = (uint32_t)(word >> OBJECT_GENERATION_SHIFT) & OBJECT_GENERATION_MAX,
		.slack = (uint32_t)(word >> OBJECT_SLACK_SHIFT) & OBJECT_SLACK_MAX,
		.site = (uint32_t)(word >> OBJECT_SITE_SHIFT) & OBJECT_SITE_MAX,
		.birth_s = (uint32_t)(word >> OBJECT_BIRTH_SHIFT) & OBJECT_BIRTH_MAX,
	};
}

static inline enum object_state object_record_state(uint64_t word)
{
	return (enum object_state)(word & 3);
}

/* Of the record of a live object: what says where it was allocated, and what says when. */
static inline uint64_t object_record_site(uint32_t site)
{
	return (uint64_t)(site & OBJECT_SITE_MAX) << OBJECT_SITE_SHIFT;
}

static inline uint64_t object_record_birth(uint32_t birth_s)
{
	return (uint64_t)OBJECT_LIVE | (uint64_t)(birth_s & OBJECT_BIRTH_MAX) << OBJECT_BIRTH_SHIFT;
}

/* The record of a slot's next object but for its birth: of the next generation, with this slack, which fits. */
static inline uint64_t object_record_next(uint64_t before, uint32_t slack, uint64_t site)
{
	const uint64_t generation = before + (1U << OBJECT_GENERATION_SHIFT);

	return site | (uint64_t)slack << OBJECT_SLACK_SHIFT |
	       (generation & (uint64_t)OBJECT_GENERATION_MAX << OBJECT_GENERATION_SHIFT);
}

/* The word with another state, and nothing else changed. */
static inline uint64_t object_record_with_state(uint64_t word, enum object_state state)
{
	return (word & ~3ULL) | (uint64_t)state;
}

/* Can an owner have written this for a slot of so many bytes? Site and birth are for the server to judge. */
static inline bool object_record_fits(uint64_t word, uint32_t slot_bytes)
{
	const struct object_record r = object_record_unpack(word);

	if (r.state == OBJECT_UNUSED)
		return word == 0;
	return r.slack < slot_bytes && word != UINT64_MAX;
}

#endif
