/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that several processes of a host use: their owner puts them on the board with their books; others
 * attach them, read and check, add, and take turns with a lock that lies in them. One thread of a process
 * does that with what it attached; owners work on their own as on any other.
 */
#ifndef RMEM_TESTS_TORTURE_SHELF_H
#define RMEM_TESTS_TORTURE_SHELF_H

#include "tests/torture/worker.h"

/* A place for the books of an allocation that may be shared. NULL: there is none left. */
struct board_slot *shelf_claim(void);

/* Share the block, whose slot that is; it is about to go. */
void shelf_publish(struct block *b);
void shelf_withdraw(struct block *b);

/* Something with others' allocations; detach all. */
void shelf_step(struct worker *w);
void shelf_leave(struct worker *w);

#endif
