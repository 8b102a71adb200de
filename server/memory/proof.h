/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table "pool": the arenas of a pool, each with a proof that its memory is zero where the ledger lists nothing. A
 * proof names the arena's file (boot, file system, inode), the ledger's file, and the run with which the ledger is
 * marked. So it does not hold for copies, for a ledger of another run, or after a reboot. The table's header has the
 * ledger's seal: the proofs do not hold either for an older ledger that was copied over the file. Two files that are
 * restored in place together, or an arena that is overwritten in place, are not noticed. Memory without a proof
 * is wiped before it is lent (server/memory/pool_open.c).
 *
 * One thread.
 */
#ifndef RMEM_SERVER_MEMORY_PROOF_H
#define RMEM_SERVER_MEMORY_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "server/ledger/table.h"
#include "server/memory/arena.h"

#define PROOF_FORMAT 3
#define PROOF_OLDEST \
	1 /* 1 is without a seal: no proof holds; 2 has a record per node, whose segment has its number */

/* The arena and the ledger that a proof is about. */
struct proof_subject {
	int arena_fd;
	uint64_t ledger_inode;
	uint64_t run;
};

/* Stored: values are never reused. */
enum proof_state {
	PROOF_NONE = 0,
	PROOF_MAKING = 1, /* the arena's file may exist; none of it was ever lent */
	PROOF_CLEAN = 2,
};

/* One per segment. */
struct proof {
	uint32_t state;
	uint32_t check; /* checksum over all other fields */
	uint64_t bytes; /* the arena's size */
	uint64_t device, inode;
	uint64_t run;
	uint8_t boot_id[16];
	uint64_t ledger_inode; /* tells a copy of the ledger apart, which has the same run */
};

/* Read all proofs without changing the file. PROOF_NONE for an unreadable file or a bad record. */
void proof_read(int tables_dir, const char *name, struct proof out[SEGMENTS_MAX]);

/* ERRORS: as table_open(), and errno of fallocate. */
int proof_open(struct table *t, int tables_dir, const char *name);

/* The arena is about to be created. */
void proof_announce(struct table *t, unsigned segment, uint64_t bytes);

/* Store the proof: all memory that the ledger does not list is zero now. errno of fstat. */
int proof_give(struct table *t, unsigned segment, const struct proof_subject *of);

bool proof_holds(const struct table *t, unsigned segment, const struct proof_subject *of);

/* Is there, or may there be, an arena of that number? */
bool proof_is_known(const struct table *t, unsigned segment);

/* The arena is being removed. */
void proof_drop(struct table *t, unsigned segment);

#endif
