/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Examines a data directory before rmemd creates or changes anything in it. Accepted: no files, or a consistent set of
 * files of one pool. Anything else is refused without a change; the error message names the files and the remedies,
 * with loss of data as the last one.
 */
#ifndef RMEM_SERVER_MEMORY_ORIGIN_H
#define RMEM_SERVER_MEMORY_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/errinfo.h"
#include "server/memory/arena.h"
#include "server/memory/datadir.h"
#include "server/memory/limits.h"

struct origin {
	uint64_t pool; /* its id; 0: no pool */
	uint64_t run;  /* the last run, from the ledger; 0: no run started, nothing was ever lent */
	uint32_t ledger_count;          /* capacity of the ledger, in records */
	uint64_t bytes[ADDR_MAX_NODES]; /* of all arenas of a node */
	struct origin_segment {
		unsigned node;
		uint64_t bytes;   /* 0: no such segment */
	} segments[SEGMENTS_MAX]; /* by number */
};

/*
 *	-EUCLEAN	a file of another version, a damaged file, or files of several pools
 *	-ENOENT		a file is missing that the others need
 */
int origin_read(struct origin *out, const struct datadir *d, struct errinfo *errinfo);

/* -EEXIST: sizes gives a node less than it has from an earlier run. More is fine, and new nodes are. */
int origin_check_sizes(const struct origin *o, const struct sizes *sizes, struct errinfo *errinfo);

#endif
