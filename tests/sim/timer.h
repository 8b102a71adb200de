/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timer of a simulated event loop, in place of libevent's: there is one, the server's next slice of work. It runs
 * when the simulation says so, never before its time.
 */
#ifndef RMEM_SIM_TIMER_H
#define RMEM_SIM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

void timer_forget(void); /* the server was killed */

bool timer_is_set(void);
uint64_t timer_due_ns(void); /* if it is set */
void timer_run(void);        /* the server's code */

#endif
