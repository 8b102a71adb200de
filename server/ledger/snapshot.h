/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The records of a table as they are at one moment, fetched in pieces while the table changes. A record that changes before
 * it was fetched is copied first (table_edit() sees to that), so the cost is that of what changes meanwhile.
 *
 * Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_SNAPSHOT_H
#define RMEM_SERVER_LEDGER_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bitset.h"

struct snapshot {
	struct bitset left; /* slots whose records have been neither fetched nor copied */
	uint64_t cursor;
	size_t record_bytes;
	uint32_t *slots; /* of the copies */
	char *copies;
	size_t ncopies, room;
	bool failed; /* no memory for a copy: it is not whole */
};

/* taken: the slots in use. -ENOMEM. Copies one bit per slot. */
int snapshot_begin(struct snapshot *s, const struct bitset *taken, size_t record_bytes);
void snapshot_end(struct snapshot *s); /* of a zeroed struct is fine */

/* That record is about to change. */
void snapshot_keep(struct snapshot *s, uint32_t slot, const void *record);

/*
 * At most max records, each once, and their slots; 0: that was all. First those that are still as they were, by slot:
 * first is the table's record 0. Then the copies.
 */
size_t snapshot_next(
	struct snapshot *s, const void *first, uint32_t *slots, void *records, size_t max);

#endif
