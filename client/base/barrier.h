/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory barrier in all threads of the process at once, so that threads on the data path need no fence of their own.
 * Stores that a thread has made before this call are visible after it; loads that a thread makes after it see all stores
 * that the caller has made before. Takes microseconds. Any thread.
 *
 * It is membarrier(2). Where the kernel refuses that, there is no other: taking a right away from a page, which
 * interrupts other processors on some machines, does not do so on arm64, nor where an x86 processor invalidates the
 * TLBs of others by itself. So code that leaves out a fence calls
 * barrier_is_there() first.
 */
#ifndef RMEM_CLIENT_BASE_BARRIER_H
#define RMEM_CLIENT_BASE_BARRIER_H

#include <stdbool.h>

/* false: each thread has to make a fence of its own (seq_cst) between its store and its load. Always the same answer. */
bool barrier_is_there(void);

/*
 * If it is not there, a fence of the calling thread. If the kernel refuses it only since barrier_is_there(), this sleeps
 * for some milliseconds instead.
 */
void barrier_all_threads(void);

#endif
