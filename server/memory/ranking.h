/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On which nodes memory for a request is sought, and in which order: the policies of include/rmem/rmem.h, decided from
 * what is known of the nodes. Pure.
 */
#ifndef RMEM_SERVER_MEMORY_RANKING_H
#define RMEM_SERVER_MEMORY_RANKING_H

#include <stdint.h>

#include "common/addr.h"
#include "common/errinfo.h"
#include "common/message.h"

#define RANKING_NOWHERE (-1)

/* A node that lends. */
struct ranking_node {
	unsigned node;     /* OS index, below ADDR_MAX_NODES */
	unsigned distance; /* from the origin, if there is one */
	uint64_t free_bytes;
	uint64_t values[PLACEMENT_ATTRIBUTES]; /* bytes, MiB/s, ns; 0: unknown */
};

struct ranking_question {
	const struct placement *placement; /* as a peer sent it */
	int origin; /* the node of the NIC (LOCAL) or of the address (NEAR); RANKING_NOWHERE: unknown */
	unsigned turns; /* the node that interleaving began with last time, plus 1; 0: none */
};

struct ranking {
	uint64_t mask;  /* of all nodes in it: only these can serve the request */
	unsigned count; /* of nodes */
	unsigned
		wanted; /* the first so many are where the policy wants it; on the others it is a miss */
	uint8_t nodes[ADDR_MAX_NODES];
};

/*
 * n: 1 … ADDR_MAX_NODES. errinfo may be NULL.
 *	-EINVAL		no such policy, attribute or node, or something that the policy does not take
 *	-ENODEV		strict, but where that would be is not known, or lends nothing
 */
int ranking_make(const struct ranking_question *q, const struct ranking_node *nodes, unsigned n,
	struct ranking *out, struct errinfo *errinfo);

/*
 * A bit per node that is best in an attribute, or less than an eighth worse: memory of one kind is not all of exactly
 * the same size, or equally near to some CPU. 0: no value is known.
 */
uint64_t ranking_best(const struct ranking_node *nodes, unsigned n, unsigned attribute);

/* "capacity", "bandwidth", "latency". */
const char *ranking_attribute_name(unsigned attribute);

#endif
