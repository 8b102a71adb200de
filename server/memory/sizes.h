/* SPDX-License-Identifier: BSD-3-Clause */
/* How much each NUMA node lends, as --size says it. Pure but for the topology that it looks at. One thread. */
#ifndef RMEM_SERVER_MEMORY_SIZES_H
#define RMEM_SERVER_MEMORY_SIZES_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/errinfo.h"

struct topology;

#define SIZES_NODE_MAX_BYTES (ADDR_OFFSET_MASK + 1) /* that an address can tell apart */

/* Bytes that each node lends. A node that is not listed lends nothing. */
struct sizes {
	size_t count;
	struct sizes_node {
		unsigned node;
		uint64_t bytes;
	} nodes[ADDR_MAX_NODES];
};

uint64_t sizes_total(const struct sizes *s);

/*
 * "4G": split evenly over all nodes. Or a list of "NODE:SIZE" and "ATTRIBUTE:SIZE": "0:4G,1:2G" is for these nodes;
 * "capacity:64G,bandwidth:8G" is split evenly over the nodes that are best in it (ranking_best()), and adds to what
 * else is for them. Rounded down to whole pages.
 *	-EINVAL		wrong syntax, a node named twice, or less than a page for a node
 *	-ENODEV		no such node, or no node's attribute is known
 *	-EFBIG		more than the address format allows (4 TiB per node)
 */
int sizes_parse(const char *text, const struct topology *t, uint64_t page_bytes, struct sizes *out,
	struct errinfo *errinfo);

/* The number of nodes that fit into an address, the first ones of a topology; other nodes cannot lend. */
size_t sizes_usable_nodes(const struct topology *t);

/* -ENODEV, and which nodes there are. */
int sizes_no_such_node(const struct topology *t, unsigned long node, struct errinfo *errinfo);

#endif
