/* SPDX-License-Identifier: BSD-3-Clause */
/* What a record of an object (common/object_record.h) says, checked: its session wrote it and may write anything. Pure. */
#ifndef RMEM_SERVER_LEDGER_OBJECT_H
#define RMEM_SERVER_LEDGER_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/object_record.h"

/* A session counts whole seconds by its own clock. */
#define OBJECT_BIRTH_TOLERANCE_S 60

/* What a record is checked against. */
struct object_slab {
	uint32_t slot_bytes;
	uint64_t opened_ns; /* when its session was opened, in server time; 0: unknown */
	uint64_t born_ns;   /* the slab */
	uint64_t now_ns;
};

struct object {
	bool held;    /* else its slot is free for its session */
	bool corrupt; /* the record cannot be true: held, perhaps, and nothing else is known of it */
	uint32_t bytes, site;
	uint64_t birth_ns; /* of the slab, if that of the object is unknown */
};

struct object object_judge(uint64_t word, const struct object_slab *slab);

#endif
