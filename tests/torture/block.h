/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An allocation and its books: what each of its words may hold. A word holds 0 until it was written, then a tag
 * (tag.h) whose sequence is between lo, that of the last write that is known to be done, and hi, that of the
 * last one that was started. The first word is a counter, which only additions change; the next ones of an
 * allocation that is shared are the lock's (shelf.h).
 *
 * A write that failed may be done, or not, or later: it may still be on its way until something that was sent
 * after it on the same lane (this thread's channel, or one queue) has succeeded. Until then writes on
 * other lanes do not raise lo.
 *
 * One thread works on a block, its owner. Other processes look at the books of shared ones.
 */
#ifndef RMEM_TESTS_TORTURE_BLOCK_H
#define RMEM_TESTS_TORTURE_BLOCK_H

#include <stdbool.h>

#include "tests/torture/board.h"
#include "tests/torture/claims.h"

#define BLOCK_HEAD 4 /* words before those that hold tags */
#define BLOCK_MAX_BYTES (256UL << 10)

enum block_state {
	BLOCK_LIVE,
	BLOCK_LOST,  /* a call said -ESTALE: nothing may succeed any more */
	BLOCK_LIMBO, /* a free was not answered */
	BLOCK_FREED,
};

/* A way for writes, in order. done counts what has succeeded on it. */
struct lane {
	uint64_t done;
};

struct block {
	struct claim claim;
	rmem_addr_t addr;
	uint64_t bytes;
	unsigned units, gen, seq;
	enum block_state state;
	unsigned in_flight; /* operations of the queue, of which writes */
	unsigned writes_in_flight;
	const struct lane *haunt; /* on which a write failed; NULL: none */
	uint64_t haunt_done;
	bool haunted;            /* for good */
	struct board_slot *slot; /* NULL: not shared */
	_Atomic uint32_t *adds_started, *adds_done;
	_Atomic uint16_t *lo, *hi;
	_Atomic uint32_t adds[2]; /* of what is not shared */
};

/* Fresh: every word is 0. Takes the slot (NULL: none). NULL: out of memory. */
struct block *block_create(rmem_addr_t addr, uint64_t bytes, unsigned gen, struct board_slot *slot);
void block_destroy(struct block *b);

/* A write of n words begins; its tags. The next sequence. */
unsigned block_start_write(struct block *b, unsigned unit, unsigned n, uint64_t *tags);

/* It has ended with rc. */
void block_end_write(
	struct block *b, unsigned unit, unsigned n, unsigned seq, const struct lane *lane, int rc);

/*
 * Words that were read with success. overtaken: a later write is known to be done, and the read may have been before
 * it, so that older words are right too.
 */
void block_check(struct block *b, unsigned unit, unsigned n, const uint64_t *words, bool overtaken,
	const char *how);

/* An addition begins: how many are known to be done. It has ended: what it found must be possible. */
uint32_t block_start_add(struct block *b);
void block_end_add(struct block *b, int rc, uint32_t done_before, uint64_t old);

/*
 * What a call on the block returned: whether it may, and what follows from it. was_lost: it was so already when
 * the call began.
 */
void block_result(struct block *b, enum board_call call, int rc, bool was_lost);

/* The books of a block, of this process or of another one. */
struct block_books {
	rmem_addr_t addr;
	unsigned owner, gen;
	const _Atomic uint16_t *hi;
};

/* A word against its books, and what lo was before it was read. */
bool block_word_right(const struct block_books *t, unsigned unit, unsigned lo, uint64_t word);
void block_complain_word(const struct block_books *t, unsigned unit, unsigned lo, uint64_t word,
	unsigned nwrong, const char *how);

#endif
