/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory barrier in all threads of the process at once, so that those which do something all the time need none of
 * their own: what each has stored before this call is visible after it, and what it loads afterwards is not older than
 * what the caller has stored before. Takes microseconds. Any thread.
 */
#ifndef RMEM_CLIENT_BASE_BARRIER_H
#define RMEM_CLIENT_BASE_BARRIER_H

void barrier_all_threads(void);

#endif
