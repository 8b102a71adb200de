/* SPDX-License-Identifier: BSD-3-Clause */
/* Where bytes that were lent really are: what the kernel says of a page of an arena. */
#ifndef RMEM_TESTS_RXE_ARENA_PAGE_H
#define RMEM_TESTS_RXE_ARENA_PAGE_H

#include <stdint.h>

#include "tests/rxe/rig.h"

/*
 * The node that the page at a remote address is on, whoever has mapped it. Its first bytes must be the pattern of the
 * seed (tests/rxe/pattern.h): it is that block. ERRORS: fails the running test.
 */
int arena_page_node(struct rig *r, uint64_t addr, uint64_t seed);

#endif
