/* SPDX-License-Identifier: BSD-3-Clause */
/* Could an allocation be served? Found out from the ledger, page by page. */
#ifndef RMEM_SIM_ROOM_H
#define RMEM_SIM_ROOM_H

#include <stdbool.h>

#include "common/message.h"

/* The node that an address lies on; -1: it is outside of the pool. */
int room_node_of(uint64_t addr);

/* May it be served from that node? For requests as wish.c makes them. */
bool room_fits_node(const struct alloc_request *q, unsigned node);

/* There is a free block for it. */
bool room_is_there(const struct alloc_request *q);

/* There would be one without what sessions hold that are closed or called dead, and not connected. */
bool room_is_owed(const struct alloc_request *q);

#endif
