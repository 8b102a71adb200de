/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lease of a session, as the server sees it (docs/ARCHITECTURE.md, "Leases").
 *
 *	        no sign of life for            for               revoked
 *	LIVE ── ttl/2 ──▶ LATE ── ttl ──▶ EXPIRED ── courtesy ──▶ LAPSED
 *	  ▲                │                 │
 *	  └── renewal ─────┴── resume only ──┘   (a renewal never resurrects what expired)
 *
 * Durations only, on the server's own boot clock, counted from when the server *saw* a sign of life.
 * The client counts the same ttl from when it *sent* it, so it always stops first.
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
	LEASE_EXPIRED, /* access must be revoked; the bytes are kept as a courtesy */
	LEASE_LAPSED,  /* the courtesy is over too */
};

struct lease_terms {
	uint64_t ttl_ns;
	uint64_t courtesy_ns;
};

struct lease {
	enum lease_state state;
	uint64_t seen_ns;   /* last sign of life, plus what was excused */
	uint64_t since_ns;  /* when state was entered */
	uint64_t heartbeat; /* last value seen on the heartbeat page */
};

void lease_start(struct lease *l, uint64_t now_ns);

/* A control message: a sign of life. false (and no change) if the lease is EXPIRED or LAPSED. */
bool lease_renew(struct lease *l, uint64_t now_ns);

/*
 * Look at the heartbeat page: any change since the last look is a sign of life. true if there was one and it
 * renewed the lease; false (and no change) if nothing moved or the lease is EXPIRED or LAPSED.
 */
bool lease_observe(struct lease *l, uint64_t heartbeat, uint64_t now_ns);

/* Let time act. Returns true if the state changed. At most one transition per call. */
bool lease_step(struct lease *l, const struct lease_terms *terms, uint64_t now_ns);

/* The session came back and proved itself: LIVE again from any state but LAPSED (-ESTALE). */
int lease_resume(struct lease *l, uint64_t now_ns);

/* The server stood still for gap_ns until now, or nearly: that time is not charged. */
void lease_excuse(struct lease *l, uint64_t gap_ns, uint64_t now_ns);

/* For how long it has been in its state. */
uint64_t lease_since(const struct lease *l, uint64_t now_ns);

const char *lease_state_name(enum lease_state state); /* "live", "late", "courtesy", "lapsed" */

/*
 * Does this process run at all? A thread that does nothing else beats once per period. Missing beats are time in which
 * the process did not run: stopped, suspended, debugged, starved. How busy the asking thread is does not matter.
 */
struct pulse {
	uint64_t period_ns;
	uint64_t beat_ns; /* the last one */
	uint64_t ran_ns;  /* from the start until then */
};

void pulse_start(struct pulse *p, uint64_t period_ns, uint64_t now_ns);
void pulse_beat(struct pulse *p, uint64_t now_ns);
/* For how long it has run until now; less than an earlier answer by at most what is not known yet. */
uint64_t pulse_ran(const struct pulse *p, uint64_t now_ns);

/*
 * Stall guard: notices that this process did not run. A tick that is late because of the process's own work excuses no
 * client: clients renew without the server, so the heartbeat page shows afterwards which of them were silent.
 *
 * Call once per tick, before any lease_step(), with pulse_ran() of then; returns for how long all clients are
 * excused, 0 if the tick came within three periods.
 */
struct stall_guard {
	uint64_t period_ns;
	uint64_t last_ns, last_ran_ns;
};

void stall_guard_start(struct stall_guard *g, uint64_t period_ns, uint64_t now_ns, uint64_t ran_ns);
uint64_t stall_guard_tick(struct stall_guard *g, uint64_t now_ns, uint64_t ran_ns);

#endif
