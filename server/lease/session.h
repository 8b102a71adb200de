/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a session on the server: it begins with HELLO, outlives its connections, and its memory
 * ends in one funnel (server/lease/reaper.h) whichever way it dies. The event loop only.
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

/* What a session that is not simply connected is listed by, each list in the order in which they came. */
enum session_list {
	LISTED_NOWHERE,
	LISTED_LEAVING,  /* said goodbye, and has connections left */
	LISTED_DETACHED, /* no connection, and may come back */
	LISTED_EXPIRED,  /* the same, and its lease is over */
	LISTED_GONE,     /* provably gone */
	SESSION_LISTS
};

/* What rmemd keeps about a session only while it runs; the rest is in its record. */
struct session {
	struct leases *leases;
	struct grantee grantee;
	enum session_list listed;
	struct session *prev, *next; /* in that list, or in that of struct reclaim */
	bool used;
	bool reclaiming; /* its memory is being taken back, or has been: it does not come back */
	const struct allocation *taking_next; /* to be given up; with struct reclaim */
	struct site_holder sites; /* the call sites that its client knows the numbers of */
	uint32_t attach_seq;      /* of the last LOOKUP that was counted; 0: none */
	struct lease lease;
	struct connection *control; /* NULL: none that is open */
	/* Open ones; there are none without an open control connection. */
	struct connection *channels;
	struct wait *drained;  /* waits for it to have no connection left */
	unsigned nchannels;    /* open */
	unsigned nconnections; /* all that have not been torn down: what may still have a grant */
};

/* Every session, and the time that acts on it. */
struct leases {
	const struct options *options;
	struct net *net;
	struct pool *pool;
	struct sessions *records;
	struct sites *sites;
	struct timeline *timeline; /* what time it is in records */
	struct session *sessions;  /* by slot, SESSIONS_MAX of them */
	unsigned nchannels;        /* open, of all of them */
	struct session *lists[SESSION_LISTS];
	void *heartbeat_page; /* SESSIONS_MAX lines, registered line by line */
	struct lease_terms terms;
	struct heart *heart; /* does this process run? */
	struct stall_guard stall_guard;
	uint64_t started_boot_ns;
	uint32_t check_cursor; /* the next slot whose holder is looked at */
	uint64_t resumes, expiries, stalls, stalled_ns;
};

/* Now, as in records: server time (server/ledger/timeline.h). */
uint64_t leases_time_ns(const struct leases *l);

/* How long ago that was; 0 if it is still to come, which only a damaged record says. */
uint64_t leases_age_ns(const struct leases *l, uint64_t since_ns);

/* The session of a connection that has one. */
struct session *session_of(const struct connection *c);

/* Runtime state for every record found in the data directory: detached, with a fresh lease. */
void sessions_recover(struct leases *l);

/*
 * A HELLO on c. 0: c is the control connection of a session. -EEXIST, -EUSERS; when resuming -ESTALE
 * (gone or reclaimed) or -EACCES (wrong secret). -EINPROGRESS: the session still has earlier
 * connections. They are ended; wait on *out for that, and then call session_resume() for c->pending.session. A later
 * HELLO takes its place: then c is aborted.
 */
int session_begin(struct leases *l, struct connection *c, const struct hello_request *hello,
	struct wait ***out, struct why *why);
/* What a HELLO that waited comes to, now that nothing is left of the session's earlier connections. */
int session_resume(struct connection *c, struct session *session, struct why *why);

/*
 * A JOIN on c. 0: c is a channel of that session. -ESTALE, -EACCES, -EUSERS. -EINPROGRESS: it replaces a
 * channel of which something is left. That is ended; wait on *out for it, and then call session_rejoin() for
 * c->pending.session. A later JOIN of that number takes its place: then c is aborted.
 */
int session_join(struct leases *l, struct connection *c, const struct join_request *q,
	struct wait ***out, struct why *why);
/* What a JOIN that waited comes to. */
int session_rejoin(struct connection *c, struct session *session, struct why *why);

/*
 * Is the session that had this fencing token out: it has no connection, and none under this fencing token ever again? Then the
 * fencing token is retired before this returns, so that no restart brings it back.
 */
bool session_is_out(struct leases *l, uint64_t fencing_token);

/* The client said goodbye: what it did not free is leaked by a closed session. */
void session_close(struct session *session);

/* Look at the heartbeat page and let time act on every lease. */
void session_tick_all(struct leases *l, uint64_t now_ns);

/* Clients that said goodbye, and whose control connection stays. */
void sessions_drop_leaving(struct leases *l, uint64_t now_ns);

/*
 * Look whether holders that are not connected still exist: a bounded number of them, in turn. A session that is provably
 * gone is DEAD then.
 */
void session_check_liveness(struct leases *l);

/* Forget the session if it holds nothing and is over, or its lease is. */
void session_forget_if_done(struct session *session);

/*
 * The table of call sites is short of room: sessions that are provably gone hold none any more. Should one come back after
 * all, its allocations are of unknown sites. False if none held any.
 */
bool sessions_give_up_sites(struct leases *l);

/* rmemd ends: all that is kept about sessions only while it runs. */
void sessions_end(struct leases *l);

/* Its memory is being taken back from now on: it is listed nowhere, and does not come back. */
void session_begin_reclaim(struct session *session);

/* A pool's emptied(): the last block of the session in that slot is free. */
void session_emptied(void *leases, uint32_t slot);

const struct session_record *session_record(const struct session *session);

/* The line of the heartbeat page that belongs to a session. */
volatile uint64_t *session_heartbeat(const struct session *session);

#endif
