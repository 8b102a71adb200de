/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sign that a process still has its session: an abstract unix socket whose name is a number, and to which nothing
 * is sent. It goes when the process executes another program (pid and start time stay the same) or closes it, and
 * every user in the same network namespace can see that. It never goes while the process has the session: a copy of
 * the descriptor, which a child has after fork(), only makes it stay longer. Any thread; no state.
 */
#ifndef RMEM_COMMON_PRESENCE_H
#define RMEM_COMMON_PRESENCE_H

#include <stdint.h>

enum presence { PRESENCE_UNKNOWN, PRESENCE_THERE, PRESENCE_GONE };

/* The sign: *out_number is not 0, and says nothing to others. Its descriptor, or a negative errno. */
int presence_show(uint64_t *out_number);

/* The network namespace in which this thread shows and sees signs; 0: it cannot be known. */
uint64_t presence_place(void);

/* Is the sign that was shown in that place there? UNKNOWN from any other place, and if anything hinders. */
enum presence presence_look(uint64_t number, uint64_t place);

#endif
