/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unique ascending numbers across restarts: serial numbers and fencing tokens. After a restart only the records that
 * carry numbers tell which were given, and any record may be damaged or forged.
 *
 * So a found number is valid only if it is at most one reach above the next lower valid number, or above 0. A reach
 * exceeds what any pool gives in its life. Therefore:
 *	- every given number is valid, and no number is given twice
 *	- a forged number uses up one reach at most; using up all numbers takes one forged record per reach
 * A reach should not be near a power of two, so that no single bit flip leads near the limit of validity.
 *
 * Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_NUMBERING_H
#define RMEM_SERVER_LEDGER_NUMBERING_H

#include <stdbool.h>
#include <stdint.h>

#define NUMBERING_SPANS 192 /* limit on the number of reaches up to max */

/* Serial numbers of allocations and sessions. At a million per second, a reach lasts 3000 years. */
#define SERIAL_MAX (UINT64_MAX - 1)
#define SERIAL_REACH 100000000000000000ULL

struct numbering {
	uint64_t max, reach;
	uint64_t next; /* max + 1: all numbers are given */
	/* The lowest and the highest found number of each reach; 0: none. */
	struct numbering_span {
		uint64_t lowest, highest;
	} spans[NUMBERING_SPANS];
};

/* Start with no found numbers. max < UINT64_MAX, and max / reach < NUMBERING_SPANS. */
void numbering_begin(struct numbering *n, uint64_t max, uint64_t reach);

/* An earlier process's record carries this number. Report all of them before numbering_give(). */
void numbering_found(struct numbering *n, uint64_t number);

/* Is a found number valid, or was it given since? */
bool numbering_is_valid(const struct numbering *n, uint64_t number);

/* The next number; 0: all are given. Only numbering_give() uses it up. */
uint64_t numbering_next(const struct numbering *n);
uint64_t numbering_give(struct numbering *n);

#endif
