/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a former process left in the ledger's file, sorted into what can be right and what cannot.
 * The file may hold anything; nothing in it is changed.
 */
#ifndef RMEM_SERVER_LEDGER_LEDGER_RECOVER_H
#define RMEM_SERVER_LEDGER_LEDGER_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/ledger/allocation.h"
#include "server/ledger/numbering.h"
#include "server/ledger/slots.h"
#include "server/ledger/table.h"

struct ledger_found {
	uint32_t *slots; /* of the good records, oldest first; the caller frees it */
	uint32_t count;
	uint32_t rejected;
	struct numbering serials; /* all that were found, of FREE records too */
};

/* Every slot that is not FREE is set aside in slots. -ENOMEM. */
int ledger_recover(const struct table *t, struct slots *slots, struct ledger_found *out);

/* Is every field of a record that is not FREE in its range, and its checksum right? */
bool ledger_record_is_possible(const struct allocation *a);

/* What the checksum of a record must be. */
uint32_t ledger_record_check(const struct allocation *a);

#endif
