/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory barrier in all threads of the process at once, so that those which do something all the time need none of
 * their own: what each has stored before this call is visible after it, and what it loads afterwards is not older than
 * what the caller has stored before. Takes microseconds. Any thread.
 *
 * It is membarrier(2). Where the kernel refuses that, there is no other: taking a right away from a page, which
 * interrupts other processors on some machines, does not do so on arm64, nor where an x86 processor invalidates the
 * TLBs of others by itself. So who goes without a fence asks first.
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
