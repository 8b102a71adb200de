/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of small integers that can say which member comes next: a bit map with summaries. A bit of
 * a level says that the 64 bits below it are not all clear, so a search touches at most two words
 * per level, and 2^30 members need five levels.
 *
 * Pure; one thread. All memory is taken in bitset_create(); what is never touched costs none.
 */
#ifndef RMEM_SERVER_BASE_BITSET_H
#define RMEM_SERVER_BASE_BITSET_H

#include <stdbool.h>
#include <stdint.h>

#define BITSET_LEVELS 6 /* 2^36 members at most */
#define BITSET_NONE UINT64_MAX

struct bitset {
	uint64_t *words[BITSET_LEVELS]; /* [0] is the map itself; one piece of memory */
	uint64_t bits[BITSET_LEVELS];
	unsigned levels;
	uint64_t count; /* of members */
};

/* Empty, for members below bits. -EINVAL when that is too large, -ENOMEM. 0 bits are fine. */
int bitset_create(struct bitset *s, uint64_t bits);
int bitset_copy(struct bitset *s, const struct bitset *from); /* a new one; -ENOMEM */
void bitset_destroy(struct bitset *s);                        /* of a zeroed struct is fine */

/* i must be below bits. */
void bitset_set(struct bitset *s, uint64_t i);
void bitset_clear(struct bitset *s, uint64_t i);

/* false for what cannot be a member. */
static inline bool bitset_test(const struct bitset *s, uint64_t i)
{
	return i < s->bits[0] && (s->words[0][i / 64] >> i % 64 & 1);
}

/* The lowest member that is not below from, or BITSET_NONE. */
uint64_t bitset_next(const struct bitset *s, uint64_t from);

#endif
