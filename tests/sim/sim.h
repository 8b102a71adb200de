/* SPDX-License-Identifier: BSD-3-Clause */
/* One run: a server, a few clients, and what happens to them, from one seed. Ends the program if anything is wrong. */
#ifndef RMEM_SIM_SIM_H
#define RMEM_SIM_SIM_H

#include <stdint.h>

void sim_run(uint64_t seed, unsigned steps);

#endif
