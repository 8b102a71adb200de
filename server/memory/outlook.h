/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What room there would be if some sessions' blocks were given back: tried out on copies of the allocators.
 *
 * Pure; one thread. Making the copies takes O(size) of the arenas, giving a block back O(log size).
 */
#ifndef RMEM_SERVER_MEMORY_OUTLOOK_H
#define RMEM_SERVER_MEMORY_OUTLOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "server/ledger/ledger.h"
#include "server/memory/wish.h"

struct outlook {
	const struct ledger *ledger;
	struct buddy *nodes[ADDR_MAX_NODES]; /* copies, by number; NULL: not looked at */
};

/* Zero it first. The ledger is only read, and must stay as it is until outlook_close(). */
int outlook_add_node(struct outlook *o, unsigned node, const struct buddy *b); /* -ENOMEM */
void outlook_close(struct outlook *o);

/* As if this block had been given back; twice is once. A zombie never is. */
void outlook_without(struct outlook *o, const struct allocation *a);
void outlook_without_session(struct outlook *o, uint32_t slot);

/* Is there a block for it on any of the nodes that were added? */
bool outlook_has_room(const struct outlook *o, const struct wish *wish);

/*
 * There is no room for it. Who of the sessions in slots[0 … n) has to give back its blocks so that there
 * is? Room is looked for without the first, without the first two, and so on; of those without whom there is some, needed[]
 * tells the ones that have a part of the block which it would be. Returns how many were looked at: the last of them
 * is needed, and those behind are not; 0: there is no room without all of them.
 */
size_t outlook_choose(struct outlook *o, const struct wish *wish, const uint32_t slots[], size_t n,
	bool needed[]);

#endif
