/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine that the server runs on, in place of numa/ and of what a device says about itself: two nodes, no threads. */
#include <stdio.h>

#include "numa/place.h"
#include "numa/prefault.h"
#include "numa/topology.h"
#include "server/base/crew.h"
#include "server/net/device.h"

static const struct topology_node nodes[] = { { .node = 0, .cpus = 1 }, { .node = 1, .cpus = 1 } };

size_t topology_count(const struct topology *t)
{
	(void)t;
	return sizeof(nodes) / sizeof(nodes[0]);
}

const struct topology_node *topology_at(const struct topology *t, size_t i)
{
	(void)t;
	return &nodes[i];
}

const struct topology_node *topology_find(const struct topology *t, unsigned node)
{
	return node < topology_count(t) ? &nodes[node] : NULL;
}

unsigned topology_distance(const struct topology *t, unsigned from, unsigned to)
{
	(void)t;
	return from == to ? TOPOLOGY_LOCAL : TOPOLOGY_REMOTE;
}

int place_memory(const struct topology *t, unsigned node, void *addr, size_t bytes)
{
	(void)t;
	(void)node;
	(void)addr;
	(void)bytes;
	return 0;
}

int prefault_range(const struct topology *t, unsigned node, void *addr, uint64_t bytes,
	uint64_t page_bytes, prefault_progress *progress, void *arg)
{
	(void)t;
	(void)node;
	(void)addr;
	(void)page_bytes;
	return progress && !progress(arg, bytes, bytes) ? -1 : 0;
}

/* One after the other. */
int crew_run(const struct crew *crew, void *const *items, unsigned n, struct errinfo *errinfo)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = crew->work(items[i], errinfo);
	return err;
}

const char *device_name(const struct device *d)
{
	(void)d;
	return "sim0";
}

/* Where windows are enforced, a chunk is only a name: anything that is not NULL. */
struct ibv_mr *device_chunk(const struct device *d, uint64_t addr)
{
	static struct ibv_mr chunk;

	(void)d;
	(void)addr;
	return &chunk;
}
