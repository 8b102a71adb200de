/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose memory is taken back when an allocation finds no room. What dead holders left is evidence, so none
 * of it is taken unless that makes the room: this is tried out first, on copies of the allocators. The
 * event loop only.
 */
#ifndef RMEM_SERVER_RELIEF_H
#define RMEM_SERVER_RELIEF_H

#include <stdbool.h>
#include <stdint.h>

#include "server/server.h"

/*
 * There was no room for bytes on that node (or, RMEM_NODE_ANY, on any). True: there may be soon, ask for it again
 * when the reaper has come round; it may have been told whose memory to take. False: nothing that may be
 * taken would make that room, and nothing has been.
 *
 * Those provably gone lose theirs before those whose lease is over, and each kind in the order in which they went.
 */
bool relief_seek(struct server *s, uint64_t bytes, int node);

#endif
