/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a session on the server: it begins with HELLO, outlives its connections, and its memory
 * ends in one funnel (server/lease/reaper.h) whichever way it dies. The event loop only.
 */
#ifndef RMEM_SERVER_LEASE_SESSION_H
#define RMEM_SERVER_LEASE_SESSION_H

#include <stdint.h>

#include "common/message.h"
#include "server/server.h"

/* Runtime state for every record found in the data directory: detached, with a fresh lease. */
void sessions_recover(struct server *s);

/*
 * A HELLO on c. 0: c is the control connection of a session. -EEXIST, -EUSERS; when resuming -ESTALE
 * (gone or reclaimed) or -EACCES (wrong secret). -EINPROGRESS: the session still has earlier
 * connections. They are ended; wait on *out for that, and then call session_resume() for c->pending.session. A later
 * HELLO takes its place: then c is aborted.
 */
int session_begin(struct connection *c, const struct hello_request *hello, struct wait ***out,
	struct why *why);
/* What a HELLO that waited comes to, now that nothing is left of the session's earlier connections. */
int session_resume(struct connection *c, struct session *session, struct why *why);

/*
 * A JOIN on c. 0: c is a channel of that session. -ESTALE, -EACCES, -EUSERS. -EINPROGRESS: it replaces a
 * channel of which something is left. That is ended; wait on *out for it, and then call session_rejoin() for
 * c->pending.session. A later JOIN of that number takes its place: then c is aborted.
 */
int session_join(
	struct connection *c, const struct join_request *q, struct wait ***out, struct why *why);
/* What a JOIN that waited comes to. */
int session_rejoin(struct connection *c, struct session *session, struct why *why);

/*
 * Is whoever had this ticket out: no connection is left on which it acts, and none will ever be again? Then
 * it is retired before this returns, so that no restart brings it back.
 */
bool session_is_out(struct server *s, uint64_t ticket);

/* The client said goodbye: what it did not free is leaked by a closed session. */
void session_close(struct server *s, struct session *session);

/* A channel that has joined is CLOSING. */
void session_leave(struct connection *channel);

/* A control connection is CLOSING: its session's channels go with it. */
void session_lost_control(struct connection *c);

/* One of its connections is gone, with all its grants. After the last one the session is detached. */
void session_reaped(struct server *s, struct session *session);

/* Look at the lease board and let time act on every lease. */
void session_tick_all(struct server *s, uint64_t now_ns);

/* Look whether the holders that are not connected still exist. */
void session_judge_all(struct server *s);

/* Forget the session if it holds nothing and is over, or its lease is. */
void session_forget_if_done(struct server *s, struct session *session);

struct session_record *session_record(struct server *s, const struct session *session);

/* The line of the lease board that belongs to a session. */
volatile uint64_t *session_board(struct server *s, const struct session *session);

#endif
