/* SPDX-License-Identifier: BSD-3-Clause */
/* What the reports are made from (server/admin/report.h). The code that fills it in owns all that it points to. */
#ifndef RMEM_SERVER_ADMIN_REPORT_VIEW_H
#define RMEM_SERVER_ADMIN_REPORT_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "server/audit/audit.h"
#include "server/lease/lease.h"
#include "server/ledger/history.h"

/* All texts must be there ("" if unknown) and outlive the call. */
struct report_server {
	const char *version;
	const char *host;
	const char *data_dir;
	const char *admin_socket;
	uint32_t pid;
	uint16_t port;
	uint8_t number;      /* in its addresses (common/addr.h) */
	uint64_t started_ns; /* real time */
	uint64_t uptime_ms;
};

struct buddy;

struct report_node {
	struct audit_node given; /* node, registered and free */
	uint64_t size_bytes;
	uint64_t page_bytes;
	uint64_t largest_free_bytes;
	const struct buddy *blocks; /* the allocator: which blocks are taken, in order */
};

struct report_device {
	const char *name;
	const char *address;
	const char *protection; /* "window" or "region" */
	const char *other_queue_pair, *revoked_key,
		*outside_window; /* "refused", "allowed", "failed" */
	const char *caution;     /* what to know before data that matters is given to it; "" */
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
	uint64_t channels; /* that all sessions have open now */
};

/* What was wrong with the files of the data directory when rmemd started. */
struct report_damage {
	uint64_t allocations, sessions, sites; /* records left out */
	uint64_t wiped_bytes; /* free memory that nothing proved to be zero: wiped then */
};

struct report_audits {
	uint64_t serial;  /* audits so far */
	uint64_t last_ns; /* when the last one was, 0: none yet */
	uint64_t duration_us;
};

/* Where the pages of a range are that were asked for; all 0 when nobody could tell. */
struct report_pages {
	uint64_t checked; /* the sum of the others */
	uint64_t on_node, elsewhere, absent;
};

struct report_view {
	const struct ledger *ledger;
	const struct sessions *sessions;
	const struct sites *sites;
	const struct history *history;
	const struct audit_scan
		*scan;   /* the last one: who-holds calls definite what agrees with it; or NULL */
	uint64_t now_ns; /* server time, like all times here */
	uint64_t now_real_ns; /* the wall clock at that moment: how times are told to people */
	struct report_server server;
	const struct report_node *nodes;
	size_t nnodes; /* at most ADDR_MAX_NODES */
	const struct report_device *devices;
	size_t ndevices;
	struct report_terms terms;
	struct report_counters counters;
	struct report_audits audits;
	struct report_damage damage;

	void *arg; /* of those below, each of which may be NULL */
	/* The lease of a session in a slot and for how long it has been so; false: it has none now. */
	bool (*lease)(void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms);
	/* How many channels a session in a slot has open. */
	unsigned (*channels)(void *arg, uint32_t slot);
	/* How many sessions that are not its owner's use an allocation now. */
	unsigned (*attached)(void *arg, const struct allocation *a);
	/* Count the pages of [addr, addr + bytes), against the node that addr names. *out is zeroed. */
	void (*pages)(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out);
};

#endif
