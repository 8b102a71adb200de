/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A search of this process's memory for remote addresses while the process runs: no thread is stopped, none is
 * signalled, nothing is written but the scan's own tables. What is read, and what is not:
 *
 *	what a program can write, and private memory that it has written and made read-only since: the whole of it, in
 *	pieces of 256 KiB, each at a moment of its own
 *	stacks where they are known, if the thread is in a system call: from the stack pointer on, less the red zone
 *	not the library's own memory (common/private_memory.h), devices and their rings, shared memory that this process
 *	cannot write (its writer reads it), pages in swap, registers
 *
 * What could not be read is counted, by reason: a block that was not met is lost only if there is no such memory.
 *
 * An address that moves from memory that the scan has not reached to memory behind it is missed. So what was not met is a
 * candidate, not a finding: it is looked for again, and at last with threads stopped. What was met may be a remainder that
 * the program has forgotten in a dead part of a stack or in freed memory.
 *
 * It works in a container, under a debugger, without capabilities, and for a process that is not dumpable.
 */
#ifndef RMEM_CLIENT_SCAN_SCAN_H
#define RMEM_CLIENT_SCAN_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/scan/targets.h"
#include "common/errinfo.h"

/* Where a thread's stack lies. For the thread that the process began with, and the one that scans, this is known. */
struct scan_stack {
	pid_t tid;
	uint64_t low, high;
};

/* The arrays are the caller's, stay as they are until scan_destroy(), and lie in private memory. */
struct scan_request {
	const struct target *blocks; /* what is looked for: client/scan/targets.h */
	size_t nblocks;
	const struct target *spans; /* where other addresses are kept */
	size_t nspans;
	const struct scan_stack *stacks;
	size_t nstacks;
	uint64_t bytes_per_s; /* 0: any */
	unsigned cpu_percent; /* of one processor; 0 or 100: any */
	int cancel_fd;        /* scan_run() ends when this is readable; -1: never */
};

struct scan_counts {
	uint64_t bytes_read;
	uint64_t bytes_private; /* present, and the library's own */
	uint64_t bytes_dead;    /* present, and beyond a stack pointer */
	uint64_t bytes_swapped;
	uint64_t
		bytes_absent; /* of shared mappings: a hole, on disk, in swap, or (over 64 GiB) not mapped here */
	uint64_t bytes_refused; /* present, and not readable */
	uint64_t bytes_gone;    /* unmapped meanwhile, or behind what was, and not looked at */
	uint64_t bytes_device;  /* of mappings of devices, present or not */
	uint64_t words;         /* remote addresses found, each time that they were */
	uint64_t elapsed_ns, cpu_ns, waited_ns; /* waited: for the budget; all in scan_run() */
};

struct scan;

/* 0, -ENOMEM, -EINVAL (see targets_init()). Any thread. */
int scan_create(struct scan **out, const struct scan_request *request, struct errinfo *errinfo);
void scan_destroy(struct scan *s); /* not during scan_run(); NULL is fine */

/*
 * One pass. Another call makes another pass, which adds to what was met and counted. One thread at a time. Takes at most three
 * descriptors meanwhile, and 20 KiB of stack; no lock of the library, but for the thread's own stack it calls
 * pthread_getattr_np(), which takes a lock of the thread and allocates. 0; -ECANCELED; -EPERM: the process may not read itself;
 * -EMFILE, -ENFILE; -ENOMEM; -EPROTO: a file in /proc has an unknown format; -errno of a file that cannot be read. After an
 * error, that a block was not met means nothing.
 */
int scan_run(struct scan *s, struct errinfo *errinfo);

/* Not during scan_run(). */
const struct targets *scan_targets(const struct scan *s);
const struct scan_counts *scan_counts(const struct scan *s);

#endif
