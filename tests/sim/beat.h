/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated heart of the server (server/lease/heart.h). */
#ifndef RMEM_SIM_BEAT_H
#define RMEM_SIM_BEAT_H

void beat(void); /* its process runs at this moment */

#endif
