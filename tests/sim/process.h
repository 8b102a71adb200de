/* SPDX-License-Identifier: BSD-3-Clause */
/* The processes that clients are: they live, die, execute other programs; the server can see some of them. */
#ifndef RMEM_SIM_PROCESS_H
#define RMEM_SIM_PROCESS_H

#include <stdbool.h>

#include "common/identity.h"

void processes_begin(void);

/* A new one, on the server's host or on another. Its number. */
unsigned process_start(bool here);
void process_set(unsigned process, enum process_state state);

/* As it is, not as the server can see it. */
enum process_state process_state(unsigned process);
bool process_is_here(unsigned process);
void process_identity(unsigned process, struct identity *out);

#endif
