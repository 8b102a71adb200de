/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Separates the valid records of an existing ledger file from the invalid ones. The file may contain anything and is
 * not changed.
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
	uint32_t *slots; /* of valid records, oldest first; the caller frees the array */
	uint32_t count;
	uint32_t rejected;
	uint32_t
		superseded; /* slot + 1 of the record of an allocation that was handed over; 0: none */
	struct numbering serials; /* of all records, FREE ones too */
};

/* Sets aside every slot that is not FREE, in slots. -ENOMEM. */
int ledger_recover(const struct table *t, struct slots *slots, struct ledger_found *out);

/* a is not FREE, every field is in range and the checksum is right. */
bool ledger_record_is_possible(const struct allocation *a);

/* The expected checksum of a record. */
uint32_t ledger_record_check(const struct allocation *a);

#endif
