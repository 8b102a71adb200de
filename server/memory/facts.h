/* SPDX-License-Identifier: BSD-3-Clause */
/* What the machine's topology says of a node, in the words of ranking.h. One thread. */
#ifndef RMEM_SERVER_MEMORY_FACTS_H
#define RMEM_SERVER_MEMORY_FACTS_H

#include "server/memory/ranking.h"

struct topology;

/* All but free_bytes and distance. A node that is not in the topology has no known values. */
struct ranking_node facts_of_node(const struct topology *t, unsigned node);

/* Those nodes of the topology that fit into an address: only they can lend. Returns how many. */
unsigned facts_of_all(const struct topology *t, struct ranking_node out[ADDR_MAX_NODES]);

#endif
