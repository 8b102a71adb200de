/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many operations of one queue at once, and their books: whatever happens to the server meanwhile, each
 * must be reaped exactly once, in order, with 0 or an error that the header knows; and what is in remote
 * memory afterwards must be what those results say.
 *
 *	a write		with 0 it is there; with an error each byte is the old or the new one
 *	a read		with 0 it has read what was there
 *	an addition	with 0 it was done once, with -EREMOTEIO perhaps, else not
 *
 * Without cmocka, so that plain programs can use it: what goes wrong is told in storm.wrong. One thread at a
 * time; reaped may be looked at by others.
 */
#ifndef RMEM_TESTS_RXE_STORM_H
#define RMEM_TESTS_RXE_STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rmem/rmem.h"

#define STORM_SLOT 64 /* bytes of a read or write, each in a place of its own */
#define STORM_COUNTERS 4

struct storm {
	struct rmem *rm;
	struct rmem_queue *q;
	size_t count, started;
	_Atomic size_t reaped;
	uint64_t seed;
	rmem_addr_t slots, counters;
	uint8_t *from, *into; /* of writes, in a registered buffer; of reads, in other memory */
	uint64_t *old;        /* what additions found */
	int *status;
	size_t failed, unknown; /* operations; additions with -EREMOTEIO */
	size_t done_unanswered; /* failed, and done all the same, as storm_verify() finds */
	char errinfo[512];      /* of the first that failed */
	char wrong[512];        /* "": nothing */
};

/* Memory with known bytes, and a queue of this depth. 0 or what a call returned. */
int storm_create(struct storm *s, struct rmem *rm, size_t count, unsigned depth, uint64_t seed);

/* Start operations until so many have been started. False: wrong. */
bool storm_start(struct storm *s, size_t until);

/* Reap what was started until so many have been reaped. False: wrong. */
bool storm_reap(struct storm *s, size_t until);

/* Ask again until the server is back, ninety seconds at most. False: wrong. */
bool storm_await_back(struct storm *s);

/* When all is reaped: compare everything. False: wrong. */
bool storm_verify(struct storm *s);

/* The queue and all memory. */
int storm_destroy(struct storm *s);

#endif
