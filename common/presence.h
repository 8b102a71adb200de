/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sign that a process still has its session: an abstract unix socket with a number for a name, that nobody talks to. It
 * goes when its process executes another program (pid and start time stay the same) or closes it, and everybody in the
 * same network namespace can see that, whatever user they are. Nobody outlives it by chance: a copy of the
 * descriptor, which a child has after fork(), only makes the sign stay longer. Any thread; no state.
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
