/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table "pool": which arenas a pool has, and for each the proof that what the ledger does not list in it
 * is zero. A proof names the file (boot, file system, inode) and the run of rmemd that the ledger is marked
 * with. So it holds for those two files together, where they are: not for copies, not beside a ledger of
 * another time, not after a reboot. What is not proven is wiped before it is lent (server/memory/pool.c).
 *
 * One thread.
 */
#ifndef RMEM_SERVER_MEMORY_PROOF_H
#define RMEM_SERVER_MEMORY_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "server/ledger/table.h"

#define PROOF_FORMAT 1

/* What is proven: this file, beside this ledger. */
struct proof_subject {
	int arena_fd;
	uint64_t ledger_inode;
	uint64_t run;
};

/* Stored: values are never reused. */
enum proof_state {
	PROOF_NONE = 0,
	PROOF_MAKING = 1, /* the arena's file may be there; nothing of it was ever lent */
	PROOF_CLEAN = 2,
};

/* One per node. */
struct proof {
	uint32_t state;
	uint32_t check; /* over all else */
	uint64_t bytes; /* the arena's size */
	uint64_t device, inode;
	uint64_t run;
	uint8_t boot_id[16];
	uint64_t
		ledger_inode; /* the ledger's file: a copy of it made during the run has the run's mark too */
};

/* What a file holds, of which nothing is changed. That it cannot be read, or a bad record: PROOF_NONE. */
void proof_read(int tables_dir, const char *name, struct proof out[ADDR_MAX_NODES]);

/* ERRORS: as table_open(). */
int proof_open(struct table *t, int tables_dir, const char *name);

/* The arena is about to be made. */
void proof_announce(struct table *t, unsigned node, uint64_t bytes);

/* All that the ledger of this run does not list in this file is zero. errno of fstat. */
int proof_give(struct table *t, unsigned node, const struct proof_subject *of);

bool proof_holds(const struct table *t, unsigned node, const struct proof_subject *of);

/* The arena is gone. */
void proof_drop(struct table *t, unsigned node);

#endif
