/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A word of remote memory that is changed by compare-and-swap and always ends up known: when the answer to
 * one is lost, the session comes back first, over connections for which the server has ended all before
 * (tenure_settle()), so that what was sent cannot be carried out any more; then the word is read, by an
 * atomic operation that changes nothing.
 */
#ifndef RMEM_CLIENT_WORD_H
#define RMEM_CLIENT_WORD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/tenure.h"
#include "common/why.h"
#include "rmem/rmem.h"

/*
 * What came of a swap. found: what was there before it; if the answer was lost (settled), what is there now,
 * and the caller must know from that whether it was done.
 */
struct word_swap {
	uint64_t found;
	bool settled;
};

/* What a swap rests on: without that it is not done. */
struct word_terms {
	uint64_t tenure; /* sent in this one: -ESTALE */
	uint64_t as_of;  /* in an allocation of then (lookup_as_of()): -EFAULT; 0: of now */
};

/* -EREMOTEIO: it could not be settled. Other errors: it was not done. */
int word_swap(struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired,
	const struct word_terms *terms, struct word_swap *out, struct why *why);

/* What is there, as the atomic operations see it. */
int word_read(struct rmem *rm, rmem_addr_t addr, uint64_t *out, struct why *why);

/* May a word be there? 0 or -EINVAL. */
int word_check_addr(rmem_addr_t addr, struct why *why);

/* After -EREMOTEIO: nothing that was sent before now is carried out any more. */
int word_settle(struct rmem *rm, struct why *why);

/*
 * What says in a word whose it is: the fencing token, and a number that makes every value another. The number
 * comes round after 2^24; a value is only ever compared with those of the same fencing token.
 */
#define WORD_NUMBER_BITS 24

static inline uint64_t word_token(uint64_t word)
{
	return word >> WORD_NUMBER_BITS;
}

/* A value of the present tenure that no other handle of the session has. */
uint64_t word_mine(struct rmem *rm, struct tenure_now *out_now);

#endif
