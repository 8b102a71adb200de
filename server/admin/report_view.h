/* SPDX-License-Identifier: BSD-3-Clause */
/* The input of all reports (server/admin/report.h). The code that fills it owns everything that it points to. */
#ifndef RMEM_SERVER_ADMIN_REPORT_VIEW_H
#define RMEM_SERVER_ADMIN_REPORT_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "server/audit/audit.h"
#include "server/lease/lease.h"
#include "server/ledger/history.h"
#include "server/memory/numastat.h"

/* Texts are never NULL ("" if unknown) and must outlive the call. */
struct report_server {
	const char *version;
	const char *host;
	const char *data_dir;
	const char *admin_socket;
	uint32_t pid;
	uint16_t port;
	uint64_t started_ns; /* server time */
	uint64_t uptime_ms;
};

struct buddy;

/* Sums over its segments, where there are several. */
struct report_node {
	struct audit_node given; /* node, registered_bytes and free_bytes are set */
	uint64_t size_bytes;
	uint64_t page_bytes;
	uint64_t largest_free_bytes;
	unsigned cpus;                                      /* near its memory */
	uint64_t memory_bytes, bandwidth_mib_s, latency_ns; /* of all its memory; 0: unknown */
	unsigned
		best_in; /* a bit per enum placement_attribute in which it is best, of the nodes that lend */
	struct numastat numastat;
};

/* In the list, in order of their numbers. */
struct report_segment {
	unsigned number, node;
	uint64_t size_bytes;
	const struct buddy *blocks; /* the allocator, which lists taken blocks by offset */
};

struct report_device {
	const char *name;
	const char *address;
	const char *protection; /* "window" or "region" */
	const char *other_queue_pair, *revoked_key,
		*outside_window; /* "refused", "allowed", "failed" */
	const char *caution;     /* a warning about the device, or "" */
	int node;                /* that it is attached to; RANKING_NOWHERE: unknown */
};

struct report_terms {
	uint64_t ttl_ms;
	uint64_t courtesy_ms;
	uint64_t audit_interval_ms;
	uint64_t max_alloc_bytes;
	const char *reclaim; /* "never", "pressure" or a duration */
};

struct report_counters {
	uint64_t allocs, frees, attaches, keys_given, resumes, expiries;
	uint64_t reclaimed_blocks, reclaimed_bytes;
	uint64_t refused_requests;
	uint64_t stalls, stalled_ms;
	uint64_t channels; /* open now, of all sessions */
};

/* Damage that rmemd found in the data directory at its start. */
struct report_damage {
	uint64_t allocations, sessions, sites; /* records left out */
	uint64_t wiped_bytes; /* free memory not proved to be zero, so wiped at the start */
};

/* Memory that the pool is still to get. */
struct report_growth {
	uint64_t coming_bytes, ready_bytes;
	const char *failure; /* why it did not get some; "" */
};

struct report_audits {
	uint64_t serial;  /* audits so far */
	uint64_t last_ns; /* server time of the last one, 0: none yet */
	uint64_t duration_us;
};

/* Where the sampled pages of a range are; all 0 if unknown. */
struct report_pages {
	uint64_t checked; /* the sum of the others */
	uint64_t on_node, elsewhere, absent;
};

struct report_view {
	const struct ledger *ledger;
	const struct sessions *sessions;
	const struct sites *sites;
	const struct history *history;
	/* the last one, or NULL; who-holds says definite only if it agrees */
	const struct audit_scan *scan;
	uint64_t now_ns;      /* server time, like all times here */
	uint64_t now_real_ns; /* wall clock at the same moment, to convert times for people */
	struct report_server server;
	const struct report_node *nodes;
	size_t nnodes; /* at most ADDR_MAX_NODES */
	const struct report_segment *segments;
	size_t nsegments; /* at most SEGMENTS_MAX */
	const struct report_device *devices;
	size_t ndevices;
	struct report_terms terms;
	struct report_counters counters;
	struct report_audits audits;
	struct report_damage damage;
	struct report_growth growth;

	void *arg; /* of the functions below; each may be NULL */
	/* Lease state of the session in a slot, and for how long; false: no lease now. */
	bool (*lease)(void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms);
	/* Valid keys of the session in a slot. */
	unsigned (*windows)(void *arg, uint32_t slot);
	/* Open channels of the session in a slot. */
	unsigned (*channels)(void *arg, uint32_t slot);
	/* Sessions other than the owner that use an allocation now. */
	unsigned (*attached)(void *arg, const struct allocation *a);
	/* The record of a slot of a LIVE slab, as slab_record() reads it. */
	uint64_t (*record)(void *arg, const struct allocation *slab, uint32_t slot);
	/* Sample the pages of [addr, addr + bytes) against the node of their segment. *out is zeroed before. */
	void (*pages)(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out);
};

#endif
