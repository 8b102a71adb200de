/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lease of a session, as the server sees it (docs/ARCHITECTURE.md, "Leases").
 *
 *	      silent for       silent for       after
 *	LIVE ── ttl/2 ──▶ LATE ── ttl ──▶ EXPIRED ── courtesy ──▶ LAPSED
 *	  ▲                │                 │
 *	  └── renewal ─────┴── resume only ──┘   (renewal never revives an expired lease)
 *
 * Only durations, on the server's boot clock, counted from when the server *saw* a sign of life.
 * The client counts the same ttl from when it *sent* that sign, so the client always stops first.
 *
 * Pure; one thread. Times are nanoseconds of one monotonic clock, passed in.
 */
#ifndef RMEM_SERVER_LEASE_LEASE_H
#define RMEM_SERVER_LEASE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

enum lease_state {
	LEASE_LIVE,
	LEASE_LATE,    /* renewals are missing; access still works */
	LEASE_EXPIRED, /* access must be revoked; the memory is kept for the courtesy time */
	LEASE_LAPSED,  /* the courtesy time is over too */
};

struct lease_terms {
	uint64_t ttl_ns;
	uint64_t courtesy_ns;
};

struct lease {
	enum lease_state state;
	uint64_t seen_ns;   /* last sign of life, plus excused time */
	uint64_t since_ns;  /* when state was entered */
	uint64_t heartbeat; /* last value seen on the heartbeat page */
};

void lease_start(struct lease *l, uint64_t now_ns);

/* A control message arrived: a sign of life. False (and no change) if the lease is EXPIRED or LAPSED. */
bool lease_renew(struct lease *l, uint64_t now_ns);

/*
 * Check the heartbeat page: a changed value is a sign of life. True if the value changed and renewed the lease;
 * false (and no change) if the value is the same or the lease is EXPIRED or LAPSED.
 */
bool lease_observe(struct lease *l, uint64_t heartbeat, uint64_t now_ns);

/* Account for the time that has passed: at most one transition per call. True if the state changed. */
bool lease_step(struct lease *l, const struct lease_terms *terms, uint64_t now_ns);

/* The session resumed with its secret: LIVE again. -ESTALE if LAPSED. */
int lease_resume(struct lease *l, uint64_t now_ns);

/* The process did not run for gap_ns, ending about now: do not charge that time. */
void lease_excuse(struct lease *l, uint64_t gap_ns, uint64_t now_ns);

/* How long the lease has been in its state. */
uint64_t lease_since(const struct lease *l, uint64_t now_ns);

const char *lease_state_name(enum lease_state state); /* "live", "late", "courtesy", "lapsed" */

/*
 * Run time of this process, from a thread that only beats once per period. Missing beats mean that the process did not
 * run: stopped, suspended, debugged or starved. How busy the other threads are does not matter.
 */
struct pulse {
	uint64_t period_ns;
	uint64_t beat_ns; /* the last beat */
	uint64_t ran_ns;  /* run time from the start to beat_ns */
};

void pulse_start(struct pulse *p, uint64_t period_ns, uint64_t now_ns);
void pulse_beat(struct pulse *p, uint64_t now_ns);
/* Run time until now. Up to two periods less than an earlier result if beats turn out to be missing. */
uint64_t pulse_ran(const struct pulse *p, uint64_t now_ns);

/*
 * Stall guard: detects that this process did not run. A tick that is late because the process was busy excuses no
 * client: clients renew without the server, and the heartbeat page shows which of them were silent.
 *
 * Call once per tick, before any lease_step(), with pulse_ran() at now_ns. Returns how much time all clients are
 * excused: 0 if the tick came within three periods.
 */
struct stall_guard {
	uint64_t period_ns;
	uint64_t last_ns, last_ran_ns;
};

void stall_guard_start(struct stall_guard *g, uint64_t period_ns, uint64_t now_ns, uint64_t ran_ns);
uint64_t stall_guard_tick(struct stall_guard *g, uint64_t now_ns, uint64_t ran_ns);

#endif
