/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names of a call site, as the tables have them. A site's are packed, one after the other: the line in four bytes of
 * this machine, the highest bit set if the function was inlined into the next one; then function and file, each with its
 * terminator. rmemd before format 3 of the sites wrote structs into the same space, one per frame; history has such
 * structs still.
 */
#ifndef RMEM_SERVER_LEDGER_STORED_NAMES_H
#define RMEM_SERVER_LEDGER_STORED_NAMES_H

#include "common/site_names.h"

struct stored_name {
	char function[112];
	char file[120];
	uint32_t line;
};

struct fixed_names {
	uint32_t site;
	uint8_t nnames;
	struct stored_name names[SITE_DEPTH_MAX];
};

struct packed_names {
	uint16_t bytes;
	uint8_t text[SITE_NAMES_BYTES];
};

union stored_names {
	struct fixed_names fixed;
	struct packed_names packed;
};

/* names is possible. */
void packed_names_put(struct packed_names *out, const struct site_names_request *names);

/* The next one: start with *at = 0. false: no more, or not possible. */
bool packed_names_next(const struct packed_names *p, unsigned *at, struct site_name *out);
bool fixed_names_next(const struct fixed_names *f, unsigned *at, struct site_name *out);

/* Is it what somebody has put there, for that many frames? */
bool packed_names_are_possible(const struct packed_names *p, unsigned nframes);
bool fixed_names_are_possible(const struct fixed_names *f, unsigned nframes);

#endif
