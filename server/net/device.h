/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One RDMA device that rmemd serves: its protection domain, its completion channel and, where the
 * device enforces the bounds of windows, the arenas' regions. Where it does not (rxe), every block
 * gets a region of its own (server/grant/grant.h).
 *
 * No region here has remote rights: only windows grant access.
 */
#ifndef RMEM_SERVER_NET_DEVICE_H
#define RMEM_SERVER_NET_DEVICE_H

#include <infiniband/verbs.h>
#include <netinet/in.h>

#include "common/addr.h"
#include "common/errinfo.h"
#include "server/base/block.h"
#include "server/base/options.h"
#include "server/memory/segment.h"
#include "server/net/probe.h"

struct event;

struct device {
	struct ibv_context *verbs; /* owned by librdmacm */
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct event *event; /* the loop's, on the channel */
	struct ibv_device_attr attr;
	int node; /* NUMA node that it is attached to, or TOPOLOGY_UNKNOWN (numa/topology.h): set by the server */
	uint64_t region_max;    /* bytes that one region may have; a power of 2 */
	struct in_addr address; /* the one it was probed on */
	struct probe_result probe;
	enum protection protection;           /* WINDOW or REGION */
	struct ibv_mr **chunks[SEGMENTS_MAX]; /* WINDOW: by segment, chunk; NULL-terminated */
};

/* -ENODEV: no usable address on it (why says so). Probes the device, which takes a moment. */
int device_open(struct device *d, struct ibv_context *verbs, enum protection wanted,
	struct errinfo *errinfo);

/*
 * Let the device reach a segment: in WINDOW mode by its regions, else grant by grant. After an error,
 * device_unregister(). Any thread, one at a time for a segment.
 */
int device_register(struct device *d, const struct segment *s, struct progress *progress,
	struct errinfo *errinfo);
/* No window is bound to its regions any more. Any thread. Fine if not registered. */
void device_unregister(struct device *d, unsigned segment);

void device_close(struct device *d); /* NULL-safe, half-built is fine */

const char *device_name(const struct device *d);

/* What its users should know, in a line without an end; "" mostly. */
const char *device_caution(const struct device *d);

/* The region that covers the part at addr in WINDOW mode. */
struct ibv_mr *device_chunk(const struct device *d, uint64_t addr);

#endif
