/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue to work at, in the test's own process: an rmemd, a session, some remote memory and as much local.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_DESK_H
#define RMEM_TESTS_RXE_DESK_H

#include "tests/rxe/lib.h"
#include "tests/rxe/rig.h"

#define DESK_BLOCK (64 * KIB)

struct desk {
	struct rig *rig;
	struct rmem *rm;
	struct rmem_queue *q;
	rmem_addr_t addr; /* DESK_BLOCK bytes */
	uint8_t *bytes;   /* as many, registered */
};

/* Starts rmemd. */
void desk_create(struct desk *d, struct rig *r, unsigned depth);
/* A session and its memory only, on a rig that runs. */
void desk_create_session(struct desk *d);
void desk_destroy(struct desk *d);

/* The next n completions: all well, with these tags, in batches of at most so many. */
void desk_reap_in_order(struct rmem_queue *q, uint64_t first, uint64_t n, int batch);

#endif
