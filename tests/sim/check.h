/* SPDX-License-Identifier: BSD-3-Clause */
/* The invariants of a server between two events. */
#ifndef RMEM_SIM_CHECK_H
#define RMEM_SIM_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct owner;

void check_begin(void);

/* bytes: look at the contents of all memory as well. */
void check_all(bool bytes);

/* Before the server looks at the heartbeat page, and after it has seen the session's new number. */
void check_before_beats(void);
void check_beat(const struct owner *o, uint64_t beat);

/* All clients have gone and time has passed: nothing is left. */
void check_empty(void);

/* The device does not confirm the end of something: only the next server gets it back. */
bool check_is_stuck(void);

#endif
