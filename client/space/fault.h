/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What RMEM_CHECK says of a fault, in the log: the kind, the object, the call stacks, the bytes around the address,
 * and a map of what they are.
 */
#ifndef RMEM_CLIENT_SPACE_FAULT_H
#define RMEM_CLIENT_SPACE_FAULT_H

#include "client/space/call.h"

/*
 * what says of which kind it is; the address follows. caller: the program's code that has called; NULL: unknown. why: what the
 * server has said to it; NULL: nothing. Any
 * thread, without a lock; reads remote memory, and waits for that as a call does.
 */
void fault_report(struct rmem *rm, const char *what, rmem_addr_t addr, void *caller,
	const struct errinfo *why);

/* Read or write remote memory that need not be an object. 0 or as rmem_read(). */
int fault_transfer(struct rmem *rm, enum operation_kind kind, rmem_addr_t addr, void *bytes,
	size_t n, uint64_t deadline_ns);

#endif
