/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/api/placement.h"

#include <errno.h>
#include <inttypes.h>

#define NODES_MAX 64 /* bits in rmem_alloc_attr.nodes */

_Static_assert(RMEM_POLICY_LOCAL == PLACEMENT_LOCAL && RMEM_POLICY_BIND == PLACEMENT_BIND &&
		       RMEM_POLICY_PREFERRED == PLACEMENT_PREFERRED &&
		       RMEM_POLICY_INTERLEAVE == PLACEMENT_INTERLEAVE &&
		       RMEM_POLICY_NEAR == PLACEMENT_NEAR && RMEM_POLICY_BEST == PLACEMENT_BEST &&
		       RMEM_POLICY_STRICT == PLACEMENT_STRICT,
	"policies go to the server as they are");
_Static_assert(RMEM_MEMORY_CAPACITY == PLACEMENT_CAPACITY &&
		       RMEM_MEMORY_BANDWIDTH == PLACEMENT_BANDWIDTH &&
		       RMEM_MEMORY_LATENCY == PLACEMENT_LATENCY,
	"and so do attributes");

static bool takes_nodes(unsigned policy)
{
	return policy == RMEM_POLICY_DEFAULT || policy == RMEM_POLICY_BIND ||
	       policy == RMEM_POLICY_PREFERRED || policy == RMEM_POLICY_INTERLEAVE;
}

static int check_nodes(unsigned policy, uint64_t nodes, struct errinfo *errinfo)
{
	if (nodes && !takes_nodes(policy))
		return errinfo_set(errinfo, -EINVAL,
			"node and nodes are for RMEM_POLICY_DEFAULT, _BIND, _PREFERRED and "
			"_INTERLEAVE: leave them out");
	if (!nodes && (policy == RMEM_POLICY_BIND || policy == RMEM_POLICY_PREFERRED))
		return errinfo_set(errinfo, -EINVAL,
			"RMEM_POLICY_BIND and _PREFERRED need nodes: set bits in nodes, or node");
	return 0;
}

static int check_attribute(unsigned policy, uint32_t attribute, struct errinfo *errinfo)
{
	if (policy != RMEM_POLICY_BEST && attribute)
		return errinfo_set(errinfo, -EINVAL, "attribute is for RMEM_POLICY_BEST only");
	if (policy == RMEM_POLICY_BEST && (!attribute || attribute >= PLACEMENT_ATTRIBUTES))
		return errinfo_set(errinfo, -EINVAL,
			"RMEM_POLICY_BEST needs an attribute of memory that librmem " RMEM_VERSION
			" knows: RMEM_MEMORY_CAPACITY, _BANDWIDTH or _LATENCY");
	return 0;
}

/* Near what this session can use: its own, or another session's that it has attached. */
static int check_near(
	struct rmem *rm, unsigned policy, rmem_addr_t near_addr, struct errinfo *errinfo)
{
	bool known;

	if (policy != RMEM_POLICY_NEAR)
		return near_addr ? errinfo_set(errinfo, -EINVAL,
					   "near_addr is for RMEM_POLICY_NEAR only")
				 : 0;
	pthread_mutex_lock(&rm->session.table);
	known = blocks_find_range(&rm->session.blocks, near_addr, 1) != NULL;
	pthread_mutex_unlock(&rm->session.table);
	return known ? 0
		     : errinfo_set(errinfo, -EINVAL,
			       "near_addr, 0x%" PRIx64
			       ", is in no allocation that this session has or has attached",
			       near_addr);
}

int placement_read(struct rmem *rm, const struct rmem_alloc_attr *attr, struct placement *out,
	struct errinfo *errinfo)
{
	const unsigned policy = attr->policy & ~RMEM_POLICY_STRICT;
	uint64_t nodes = attr->nodes;
	int rc;

	if (policy >= PLACEMENT_POLICIES)
		return errinfo_set(errinfo, -EINVAL,
			"the policy 0x%x is not known to librmem " RMEM_VERSION, attr->policy);
	if (attr->node < RMEM_NODE_ANY || attr->node >= NODES_MAX)
		return errinfo_set(errinfo, -EINVAL, "there is no NUMA node %d", attr->node);
	if (attr->node != RMEM_NODE_ANY)
		nodes |= 1ULL << attr->node;
	rc = check_nodes(policy, nodes, errinfo);
	if (rc == 0)
		rc = check_attribute(policy, attr->attribute, errinfo);
	if (rc == 0)
		rc = check_near(rm, policy, attr->near_addr, errinfo);
	if (rc)
		return rc;
	*out = (struct placement){ .policy = (uint8_t)attr->policy,
		.attribute = (uint8_t)attr->attribute,
		.nodes = nodes,
		.near = attr->near_addr };
	return 0;
}
