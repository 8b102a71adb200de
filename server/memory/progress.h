/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far a long part of the start is: on a terminal a line that changes, elsewhere a line of the log every ten seconds,
 * both with an estimate of the time left. A stop signal that is pending ends the work.
 */
#ifndef RMEM_SERVER_MEMORY_PROGRESS_H
#define RMEM_SERVER_MEMORY_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *doing; /* as in "1 GiB of 4 GiB of memory wiped" */
	uint64_t total_bytes;
	uint64_t began_ns, said_ns;
	bool terminal, shown;
	_Atomic uint64_t done_bytes;
	_Atomic bool stop;
};

/* doing must outlive p. Call this, progress_watch() and progress_end() from one thread, with stop signals blocked. */
void progress_begin(struct progress *p, const char *doing, uint64_t total_bytes);

/* Any thread. false: give up. */
bool progress_add(struct progress *p, uint64_t bytes);

/* Several times a second. arg is the struct progress. */
void progress_watch(void *arg);

void progress_end(struct progress *p);

#endif
