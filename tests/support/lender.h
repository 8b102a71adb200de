/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lender in the process: what librmem asks rmemd for to make small allocations, answered at once and without a
 * device, so that slabs, magazines and the journal can be tested and measured natively. The linker puts it in the place
 * of a few functions (lender_wrap() in CMake); all else is librmem.
 *
 * Sessions can be open side by side and share, but closing one ends all loans. There is no slab thread: the caller gives slabs back and sends records when it likes.
 */
#ifndef RMEM_TESTS_SUPPORT_LENDER_H
#define RMEM_TESTS_SUPPORT_LENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "rmem/rmem.h"

/* What is lent: as the ledger has it, and the bytes, of which the lender sees what was written. */
struct loan {
	uint64_t addr, bytes, serial; /* serial 0: given back */
	unsigned size_class;
	uint8_t *memory;
	const void *owner; /* its session */
	uint32_t unshared; /* how often its keys were revoked */
	struct loan *next;
};

struct lender {
	struct loan *loans;  /* the youngest first, those that were given back too */
	uint64_t lent_bytes; /* now */
	uint64_t requests;   /* round trips so far */
	uint64_t fail_in;    /* the request after so many more fails with fail_with; 0: none does */
	uint64_t fail_more;  /* ... and as many after that */
	int fail_with;
	uint64_t
		lose_in; /* before the request after so many more, the session is lost; 0: it is not */
	/* The request after so many more is carried out, and its answer lost: -ETIMEDOUT; 0: none is. */
	uint64_t lose_answer_in;
	void (*meanwhile)(
		void); /* what other threads do, once, while the next request is on its way; NULL: nothing */
	uint64_t writes, fail_write_in; /* of records; as above, with -ECONNRESET */
	uint64_t detached;              /* so far */
	uint32_t freed_site;            /* that the last RELEASE or REVISE named */
	uint64_t journaled;             /* renewals that said that all records are there */
	uint64_t unannounced; /* journal=exact: data that came before the record of its object */
	bool is_wired;        /* lender_wire() */
};
extern struct lender lender;

/* A session of it. NULL: out of memory. */
struct rmem *lender_open(bool exact, bool no_sites);
/* Copies go over connections (cable.h) from now on; else they arrive at once. */
void lender_wire(struct rmem *rm);
/* As $RMEM_CHECK does, before the first call: 0, -EINVAL or -ENOMEM. */
int lender_check(struct rmem *rm, const char *mode);
/* What rmem_close() does before it says goodbye; then the session is gone, and all that was lent is forgotten. */
void lender_close(struct rmem *rm);

/* Send the records that have changed, and say so. 0 or the error. */
int lender_flush(struct rmem *rm);
/* Look for objects that other sessions have freed. 0 or the error. */
int lender_collect(struct rmem *rm);
/* Give back what is empty and not kept, or all that is empty. */
int lender_give_back(struct rmem *rm, bool all);

/* The session is gone, as when the server has reclaimed it: another one takes its place. */
void lender_lose_all(struct rmem *rm);

/* The next loan is at this address. */
void lender_lend_next(uint64_t addr);

/* The loan that addr is in, if it was not given back; or NULL. */
const struct loan *lender_find(uint64_t addr);
/* Data arrives there. */
void lender_see_write(uint64_t addr);
/* The record of a slot, as it has arrived. */
uint64_t lender_record(const struct loan *loan, uint32_t slot);

#endif
