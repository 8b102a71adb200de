/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers that are given out once and ascending, over every restart: serial numbers and fencing tokens. Which of them were
 * given is known only from the records that carry them, and any record may be damaged or forged.
 *
 * So a found number is valid only if it is at most one reach above the next lower valid one, or above 0. A reach is more
 * than any pool gives in its life. Therefore:
 *	- what was given is always valid, and no number is given twice
 *	- one forged number uses up one reach at most: it takes as many records as there are reaches to use up all
 * A reach should not be near a power of two: then no single damaged bit leads to the edge of what is valid.
 *
 * Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_NUMBERING_H
#define RMEM_SERVER_LEDGER_NUMBERING_H

#include <stdbool.h>
#include <stdint.h>

#define NUMBERING_SPANS 192 /* reaches in all numbers, at most */

/* Serial numbers, of allocations and of sessions: a million a second use up a reach in 3000 years. */
#define SERIAL_MAX (UINT64_MAX - 1)
#define SERIAL_REACH 100000000000000000ULL

struct numbering {
	uint64_t max, reach;
	uint64_t next; /* max + 1: all are given */
	/* The lowest and the highest number found in each reach; 0: none. */
	struct numbering_span {
		uint64_t lowest, highest;
	} spans[NUMBERING_SPANS];
};

/* Nothing is found yet. max < UINT64_MAX, and max / reach < NUMBERING_SPANS. */
void numbering_begin(struct numbering *n, uint64_t max, uint64_t reach);

/* A record of a former process carries this number. All are found before the first one is given. */
void numbering_found(struct numbering *n, uint64_t number);

/* Is it valid, among all that were found; or given since? */
bool numbering_is_valid(const struct numbering *n, uint64_t number);

/* The next number, or 0: there are no more. numbering_give() gives it. */
uint64_t numbering_next(const struct numbering *n);
uint64_t numbering_give(struct numbering *n);

#endif
