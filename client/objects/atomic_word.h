/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A word of remote memory that is changed by compare-and-swap and always ends up known: when the answer to
 * one is lost, the session comes back first, over connections for which the server has ended all before
 * (lease_epoch_settle()), so that what was sent cannot be carried out any more; then the word is read, by an
 * atomic operation that changes nothing.
 */
#ifndef RMEM_CLIENT_OBJECTS_ATOMIC_WORD_H
#define RMEM_CLIENT_OBJECTS_ATOMIC_WORD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/control/fencing.h"
#include "common/errinfo.h"
#include "rmem/rmem.h"

/*
 * What came of a swap. found: what was there before it; if the answer was lost (settled), what is there now,
 * and the caller must know from that whether it was done.
 */
struct atomic_word_swap {
	uint64_t found;
	bool settled;
};

/* What a swap rests on: without that it is not done. */
struct atomic_word_terms {
	uint64_t lease_epoch; /* sent in this one: -ESTALE */
	uint64_t as_of;       /* in an allocation of then (lookup_as_of()): -EFAULT; 0: of now */
};

/* -EREMOTEIO: it could not be settled. Other errors: it was not done. */
int atomic_word_swap(struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired,
	const struct atomic_word_terms *terms, struct atomic_word_swap *out,
	struct errinfo *errinfo);

/* What is there, as the atomic operations see it. */
int atomic_word_read(struct rmem *rm, rmem_addr_t addr, uint64_t *out, struct errinfo *errinfo);

/* May a word be there? 0 or -EINVAL. */
int atomic_word_check_addr(rmem_addr_t addr, struct errinfo *errinfo);

/* After -EREMOTEIO: nothing that was sent before now is carried out any more. */
int atomic_word_settle(struct rmem *rm, struct errinfo *errinfo);

/*
 * What says in a word whose it is: the fencing token, and a number that makes every value another. The number
 * comes round after 2^24; a value is only ever compared with those of the same fencing token.
 */
#define ATOMIC_WORD_NUMBER_BITS 24

static inline uint64_t atomic_word_token(uint64_t word)
{
	return word >> ATOMIC_WORD_NUMBER_BITS;
}

/* A value of the present lease epoch that no other handle of the session has. */
uint64_t atomic_word_mine(struct rmem *rm, struct fencing_now *out_now);

#endif
