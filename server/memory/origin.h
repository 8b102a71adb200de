/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a data directory holds, looked at before anything in it is made or changed: nothing, or the files of
 * one pool that fit together. Whatever else is there is refused, untouched, with a sentence that says which
 * files are concerned and how rmemd starts with them; to give up data is the last thing that it names.
 */
#ifndef RMEM_SERVER_MEMORY_ORIGIN_H
#define RMEM_SERVER_MEMORY_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/why.h"
#include "server/memory/datadir.h"
#include "server/memory/limits.h"

struct origin {
	uint64_t pool; /* its id, 0: there is nothing */
	uint64_t run;  /* the last one that the ledger saw start, 0: none did, nothing was lent */
	uint32_t ledger_count;          /* how many records the ledger has room for */
	uint64_t bytes[ADDR_MAX_NODES]; /* of the arenas that are there */
};

/*
 *	-EUCLEAN	files of another version, of no version, or of several pools
 *	-ENOENT		a file is missing that the others need
 */
int origin_read(struct origin *out, const struct datadir *d, struct why *why);

/* May these sizes be opened: all arenas that are there, as large as they are, and perhaps more? -EEXIST */
int origin_check_sizes(const struct origin *o, const struct sizes *sizes, struct why *why);

#endif
