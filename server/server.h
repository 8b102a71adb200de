/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemd as a whole: one event loop owns everything below, so there are no locks.
 *
 *	listener ──▶ connection ──▶ service ──▶ session, pool, grant      what clients ask for
 *	tick ──▶ lease board, stall guard, holder checks, timed audits    what time does
 *	reaper ──▶ dying connections, reclaimed sessions, wiping          long work, in slices
 *	admin ──▶ audit, report                                           what operators ask for
 */
#ifndef RMEM_SERVER_SERVER_H
#define RMEM_SERVER_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "core/audit.h"
#include "core/lease.h"
#include "core/ledger.h"
#include "core/sessions.h"
#include "core/sites.h"
#include "core/timeline.h"
#include "server/datadir.h"
#include "server/device.h"
#include "server/grant.h"
#include "server/options.h"
#include "server/pool.h"
#include "server/wait.h"

#define DEVICES_MAX 16
#ifndef CONNECTIONS_MAX /* a test reaches these limits in an rmemd that has smaller ones */
#define CONNECTIONS_MAX (SESSIONS_MAX + 256)
#define OBSERVERS_MAX 64
#define CHANNELS_MAX 4096 /* of all sessions, and those that have not joined one yet */
#endif
#define BOARD_LINE_BYTES 64
#define SESSION_SITES_MAX 2048 /* new ones: no client can use up the table of all */

struct connection;
struct listener;
struct admin;
struct auditor;
struct heart;

/* What rmemd keeps about a session only while it runs; the rest is in its record. */
struct session {
	bool used;
	bool reclaiming; /* the reaper is taking its memory back */
	bool reclaimed;  /* ... and has taken all that can be taken: only zombies stay */
	bool haunted;    /* a queue pair that did not end may still write, at least to the board */
	uint32_t slot;
	unsigned new_sites; /* call sites nobody knew before it */
	unsigned counted;   /* by whom it was counted last: server.counting */
	struct lease lease;
	struct connection *control; /* NULL: none that is open */
	struct connection
		*channels;        /* open ones; there are none without an open control connection */
	struct wait *drained;     /* who waits for it to have no connection left */
	struct wait *grant_ended; /* who waits for one of its grants to end, or to be stuck */
	unsigned nchannels;       /* open */
	unsigned nconnections;    /* all that have not been reaped: what may still have a grant */
};

/* Who reaches an allocation, by ledger slot. */
struct reach {
	struct grant *grants; /* one per connection at most */
	struct wait *revoked; /* who waits for the last of them to end */
};

struct server_counters {
	uint64_t allocs, frees, attaches, resumes, expiries;
	uint64_t reclaimed_blocks, reclaimed_bytes;
	uint64_t refused_requests;
	uint64_t stalls, stalled_ns;
};

/* What came of looking whose memory to take back (relief.h), the last time. */
enum hope { HOPE_SOON, HOPE_LEAVING, HOPE_NONE };

struct relief {
	enum hope hope;
	uint64_t bytes; /* what was asked for */
	int node;
	bool picky;            /* it was not to be just anywhere: no answer for others */
	uint64_t answer_state; /* what state was then */
	uint64_t state;        /* now, of everything that the answer depends on */
	size_t ncandidates;    /* sessions that may lose what they hold, or soon */
	uint64_t next_ns;      /* the next look is not before */
	uint64_t judge_ns;     /* nor this, looking who is dead */
};

struct server {
	struct options options;
	struct event_base *base;
	struct datadir data;
	struct topology *topology;
	struct pool pool;
	struct sessions *records;
	struct sites *sites;
	struct timeline *timeline; /* what time it is in records */
	struct session *sessions;  /* by slot, SESSIONS_MAX of them */
	struct reach *reach;       /* by ledger slot */
	struct grant *ending;      /* to be ended by the reaper, oldest first */
	unsigned nrevoking;        /* allocations that are given up and have grants left */
	unsigned nreclaiming;      /* sessions whose blocks are still being given up */
	void *board;               /* SESSIONS_MAX lines, registered line by line */
	struct device devices[DEVICES_MAX];
	unsigned ndevices;
	struct listener *listener;
	struct admin *admin;
	struct auditor *auditor;
	struct connection *connections; /* open ones, but for the channels of sessions */
	unsigned nconnections, nobservers;
	unsigned nchannels;         /* until they are reaped */
	struct wait *room;          /* who waits for memory to be reclaimed, longest first */
	struct connection *dying;   /* being torn down by the reaper */
	struct connection *zombies; /* could not be torn down: kept for ever */
	struct event *tick_event;
	struct event *reaper_event;
	struct event *signal_events[2];
	struct lease_terms terms;
	struct heart *heart; /* does this process run? */
	struct stall_guard stall_guard;
	struct server_counters counters;
	struct relief relief;
	bool started; /* clients can have come */
	uint64_t started_boot_ns;
	uint64_t judged_ns; /* when holders were last looked at */
	unsigned counting;  /* how often sessions were counted */
	char host[64];
};

/* Now, as in records: server time (core/timeline.h). */
static inline uint64_t server_time_ns(const struct server *s)
{
	return timeline_at(s->timeline, clock_boot_ns());
}

/*
 * Check, map, register, probe, recover, listen. Reports progress in the log. On failure *why names
 * cause and remedy, and nothing is left open.
 */
int server_start(struct server *s, const struct options *options, struct why *why);

/* Serve until SIGTERM or SIGINT. 0, or a negative errno if the loop failed. */
int server_run(struct server *s);

/*
 * End every connection with its windows revoked, close everything. The data directory is removed if
 * nobody holds anything; otherwise it is kept for the next start. A half-started server is fine.
 */
void server_stop(struct server *s);

#endif
