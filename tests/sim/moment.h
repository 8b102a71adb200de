/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulated time. The server's clocks show it; nothing but the simulation moves it. The server's process runs, or it
 * stands still (SIGSTOP) or is busy while time passes: ran_ns counts only what it had for its loop.
 */
#ifndef RMEM_SIM_MOMENT_H
#define RMEM_SIM_MOMENT_H

#include <stdint.h>

void moment_begin(void);

uint64_t moment_ns(void);     /* the boot clock */
uint64_t moment_ran_ns(void); /* of it, the loop of the server ran */

/* Time passes, and the loop could do its work; or it could not. */
void moment_pass(uint64_t ns);
void moment_lose(uint64_t ns);

/* What the machine's clock says: for how long the simulation itself takes. */
uint64_t moment_real_ns(void);

#endif
