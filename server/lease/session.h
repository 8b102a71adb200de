/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a session on the server: it begins with HELLO and outlives its connections. However it ends, its memory
 * is taken back through the reaper (server/lease/reaper.h). The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_SESSION_H
#define RMEM_SERVER_LEASE_SESSION_H

#include <stdint.h>

#include "common/message.h"
#include "server/base/options.h"
#include "server/grant/grantee.h"
#include "server/lease/heart.h"
#include "server/lease/lease.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"
#include "server/ledger/timeline.h"
#include "server/memory/pool.h"
#include "server/net/connection.h"

#define HEARTBEAT_LINE_BYTES 64
#define SESSION_LEAVING_NS \
	NSEC_PER_SEC /* a killed process's memory and descriptors are gone by then */
#define HEARTBEAT_PAGE_BYTES ((size_t)SESSIONS_MAX * HEARTBEAT_LINE_BYTES)

/* Lists of sessions that are not simply connected, each in order of entry. */
enum session_list {
	LISTED_NOWHERE,
	LISTED_LEAVING,  /* CLOSED, connections left */
	LISTED_DETACHED, /* DETACHED, lease not expired */
	LISTED_EXPIRED,  /* DETACHED, lease expired */
	LISTED_GONE,     /* CLOSED or DEAD, no connection */
	SESSION_LISTS
};

/* Runtime state of a session; its record keeps the rest. */
struct session {
	struct leases *leases;
	struct grantee grantee;
	enum session_list listed;
	struct session *prev, *next; /* in that list, or in reclaim.taking or .evicting */
	bool used;
	bool reclaiming; /* its memory is being or was taken back: it cannot resume */
	bool evicted;    /* ... by order of an operator */
	const struct allocation *taking_next; /* next block that reclaim gives up */
	struct site_holder sites;             /* call sites whose numbers its client knows */
	uint8_t turns;                        /* of interleaving (server/memory/ranking.h) */
	uint32_t attach_seq;                  /* of the last LOOKUP that was counted; 0: none */
	struct lease lease;
	struct connection *control;  /* NULL: none open */
	struct connection *channels; /* open ones; none without an open control connection */
	struct wait *drained;        /* waits for the last connection to be torn down */
	unsigned nchannels;          /* open */
	unsigned nconnections;       /* not torn down yet: each may still have grants */
};

/* All sessions and their leases. */
struct leases {
	const struct options *options;
	struct net *net;
	struct pool *pool;
	struct sessions *records;
	struct sites *sites;
	struct timeline *timeline; /* server time */
	struct session *sessions;  /* by slot, SESSIONS_MAX of them */
	unsigned nchannels;        /* open, of all sessions */
	struct session *lists[SESSION_LISTS];
	uint64_t takeable_bytes
		[ADDR_MAX_NODES]; /* LIVE, of the sessions in LISTED_EXPIRED and LISTED_GONE */
	void *heartbeat_page;     /* SESSIONS_MAX lines, registered line by line */
	struct lease_terms terms;
	struct heart *heart; /* measures run time */
	struct stall_guard stall_guard;
	uint64_t started_boot_ns;
	uint32_t check_cursor; /* where session_check_liveness() goes on */
	uint64_t resumes, expiries, stalls, stalled_ns;
};

/* The server time now (server/ledger/timeline.h). */
uint64_t leases_time_ns(const struct leases *l);

/* Time since since_ns (server time); 0 if that is in the future, as only a damaged record can be. */
uint64_t leases_age_ns(const struct leases *l, uint64_t since_ns);

/* The session of a connection whose grantee is set. */
struct session *session_of(const struct connection *c);

/* Create runtime state, with a fresh lease, for every record of an earlier run. CONNECTED becomes DETACHED. */
void sessions_recover(struct leases *l);

/*
 * Handle a HELLO on c. 0: c is the session's control connection. -EEXIST, -EUSERS, -EAGAIN, -ENOSPC; when resuming
 * -ESTALE (gone or reclaimed) or -EACCES (wrong secret). -EINPROGRESS: the session's earlier connections are being
 * ended; wait on *out, then call session_resume() for c->pending.session. A later HELLO replaces this one and aborts c.
 */
int session_begin(struct leases *l, struct connection *c, const struct hello_request *hello,
	struct wait ***out, struct errinfo *errinfo);
/* Finish a HELLO that waited: no earlier connection of the session is left. -ESTALE. */
int session_resume(struct connection *c, struct session *session, struct errinfo *errinfo);

/*
 * Handle a JOIN on c. 0: c is a channel of the session. -ESTALE, -EACCES, -EUSERS, -EBUSY. -EINPROGRESS: c replaces a
 * channel that is not torn down yet; wait on *out, then call session_rejoin() for c->pending.session. A later JOIN
 * with the same number replaces this one and aborts c.
 */
int session_join(struct leases *l, struct connection *c, const struct join_request *q,
	struct wait ***out, struct errinfo *errinfo);
/* Finish a JOIN that waited. -ESTALE, -EUSERS, -EBUSY. */
int session_rejoin(struct connection *c, struct session *session, struct errinfo *errinfo);

/*
 * Is this fencing token out, that is, can no connection act under it, now or later? If so, the token is retired before
 * this returns, so that no restart revives it.
 */
bool session_is_out(struct leases *l, uint64_t fencing_token);

/* The client said goodbye: allocations that it did not free are leaks. */
void session_close(struct session *session);

/* Read the heartbeat page and step every lease. */
void session_tick_all(struct leases *l, uint64_t now_ns);

/* Abort control connections that stay open and silent for more than 1 s after a goodbye. */
void sessions_drop_leaving(struct leases *l, uint64_t now_ns);

/*
 * Check the holders of DETACHED sessions, a bounded number per call, in turn. Sessions that are provably gone become
 * DEAD.
 */
void session_check_liveness(struct leases *l);

/* Forget a session that has no connection and no memory, and is over or has an expired lease. */
void session_forget_if_done(struct session *session);

/*
 * The table of call sites is short of room: sessions that are provably gone give up their sites. If such a session
 * comes back after all, its allocations get unknown sites. False if no site was given up.
 */
bool sessions_give_up_sites(struct leases *l);

/* rmemd ends: free the runtime state of all sessions. */
void sessions_end(struct leases *l);

/* The session's memory is being taken back from now on: it leaves its list and cannot resume. */
void session_begin_reclaim(struct session *session);

/* An operator ends the session: its connections are ended, and it cannot resume. Then reclaim takes its memory. */
void session_evict(struct session *session);

/* A LIVE allocation of the session is about to end while it is in one of its lists. */
void session_lose(struct session *session, const struct allocation *a);

/* ... and did not: it keeps it. */
void session_keep(struct session *session, const struct allocation *a);

/* The pool's emptied(): the last block of the session in that slot is free. */
void session_emptied(void *leases, uint32_t slot);

const struct session_record *session_record(const struct session *session);

/* The session's line of the heartbeat page. */
volatile uint64_t *session_heartbeat(const struct session *session);

#endif
