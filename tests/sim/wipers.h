/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated threads that wipe (server/memory/wiper.h). They run between the events of the server's loop. */
#ifndef RMEM_SIM_WIPERS_H
#define RMEM_SIM_WIPERS_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_WIPER_RANGES 3 /* that one has at a time: so few that blocks have to wait */

/* Each wipes so many pieces of half a page. True: one has something to give back, and the loop is to be woken. */
bool wipers_run(uint64_t pieces);

void wipers_server_died(void);

#endif
