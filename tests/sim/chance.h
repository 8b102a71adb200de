/* SPDX-License-Identifier: BSD-3-Clause */
/* Every choice of the simulation, from one seed. What the server draws comes from a second row of numbers. */
#ifndef RMEM_SIM_CHANCE_H
#define RMEM_SIM_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

void chance_begin(uint64_t seed);

uint64_t chance_u64(void);
uint64_t chance_below(uint64_t n); /* 0 … n - 1 */

/* Once in n times; never if n is 0. */
bool chance_in(unsigned n);

#endif
