/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client asks for next, by chance: things that it may have, and things that it may not. */
#ifndef RMEM_SIM_WISH_H
#define RMEM_SIM_WISH_H

#include "tests/sim/request.h"

struct owner;

void wish_any(const struct owner *o, struct request *q); /* on a control connection */
void wish_attach(const struct owner *o, struct request *q);

#endif
