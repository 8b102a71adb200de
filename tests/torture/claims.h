/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses that this process has in its hands: allocations that it has not given back, lost ones too, and
 * attached ones. None of them may be lent to it as something else. Any thread.
 */
#ifndef RMEM_TESTS_TORTURE_CLAIMS_H
#define RMEM_TESTS_TORTURE_CLAIMS_H

#include <stdbool.h>

#include "tests/torture/board.h"

struct claim {
	rmem_addr_t addr;
	uint64_t bytes;
	const char *what;
	unsigned gen;
	bool ending; /* a call is at work that ends it: whether it did is not known yet */
	struct claim *next;
};

/* New, and looked at: false if it is somewhere that is claimed already, which was told then. */
bool claims_add(struct claim *c);

/* What ends it has begun; it has failed, and the addresses are claimed as before; it has succeeded. */
void claims_ending(struct claim *c);
void claims_resume(struct claim *c);
void claims_remove(struct claim *c);

#endif
