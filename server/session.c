/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"
#include "server/connection.h"
#include "server/reaper.h"

struct session_record *session_record(struct server *s, const struct session *session)
{
	return sessions_get(s->records, session->slot);
}

volatile uint64_t *session_board(struct server *s, const struct session *session)
{
	return (volatile uint64_t *)((char *)s->board + (size_t)session->slot * BOARD_LINE_BYTES);
}

static struct session *use_slot(struct server *s, uint32_t slot, uint64_t now_ns)
{
	struct session *session = &s->sessions[slot];

	memset(session, 0, sizeof(*session));
	session->used = true;
	session->slot = slot;
	*session_board(s, session) = 0;
	lease_start(&session->lease, now_ns);
	return session;
}

void sessions_recover(struct server *s)
{
	uint64_t now_ns = clock_boot_ns();
	struct session_record *r;
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(s->records, &cursor, &slot))) {
		struct session *session = use_slot(s, slot, now_ns);

		if (r->state == SESSION_CONNECTED)
			sessions_set_state(s->records, slot, SESSION_DETACHED, HOLDER_NO_EVIDENCE,
				clock_real_ns());
		r->expired_ns = 0;
		session_forget_if_done(s, session);
	}
}

/* Takes the same time wherever the first difference is. */
static bool same_secret(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE])
{
	volatile uint8_t difference = 0;

	for (unsigned i = 0; i < ID_SIZE; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static int start(struct connection *c, const struct hello_request *hello, struct why *why)
{
	struct server *s = c->server;
	struct identity who = hello->identity;
	uint8_t secret[ID_SIZE];
	uint32_t slot;
	int err;

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return why_set(why, -EAGAIN, "the server has no random numbers");
	identity_clean(&who);
	err = sessions_add(s->records, hello->session_id, secret, &who, clock_real_ns(), &slot);
	if (err == -EUSERS)
		return why_set(why, err, "the server keeps %u sessions and has no room for more",
			SESSIONS_MAX);
	if (err)
		return why_set(why, err, "the server refuses the session: %s", strerror(-err));
	c->session = use_slot(s, slot, clock_boot_ns());
	c->session->connection = c;
	log_debug("session of %s[%u] on %s opened from %s", who.exe, who.pid, who.host, c->peer);
	return 0;
}

/* The session a HELLO names, without its earlier connection; NULL: there is none (any more). */
static struct session *find(struct server *s, const struct hello_request *hello)
{
	uint32_t slot;

	if (sessions_find(s->records, hello->session_id, &slot))
		return NULL;
	return &s->sessions[slot];
}

static int resume(struct connection *c, const struct hello_request *hello, struct why *why)
{
	struct server *s = c->server;
	struct session *session = find(s, hello);
	struct session_record *r;

	if (session && !same_secret(session_record(s, session)->secret, hello->secret))
		return why_set(why, -EACCES, "the session's secret is wrong");
	if (session && session->connection) {
		connection_abort(session->connection, "its client came back on another connection");
		reaper_finish_connection(s, session->connection);
		session = find(s, hello); /* what held nothing may have been forgotten with it */
	}
	if (!session)
		return why_set(why, -ESTALE, "the server does not know this session (any more)");
	r = session_record(s, session);
	if (r->state == SESSION_CLOSED || session->reclaiming)
		return why_set(
			why, -ESTALE, "the session is over and its memory is being taken back");
	if (lease_resume(&session->lease, clock_boot_ns()))
		return why_set(why, -ESTALE, "the session's lease and courtesy are over");
	session->lease.board = *session_board(s, session);
	session->connection = c;
	c->session = session;
	r->expired_ns = 0;
	r->seen_ns = clock_real_ns();
	sessions_set_state(
		s->records, session->slot, SESSION_CONNECTED, HOLDER_NO_EVIDENCE, r->seen_ns);
	s->counters.resumes++;
	log_info("session of %s[%u] on %s is back from %s", r->identity.exe, r->identity.pid,
		r->identity.host, c->peer);
	return 0;
}

int session_begin(struct connection *c, const struct hello_request *hello, struct why *why)
{
	return hello->resume ? resume(c, hello, why) : start(c, hello, why);
}

void session_forget_if_done(struct server *s, struct session *session)
{
	const struct session_record *r = session_record(s, session);

	if (!r || session->connection || ledger_session_count(s->pool.ledger, session->slot))
		return;
	if (session->haunted)
		return; /* whoever had this slot next could be kept alive by this one's client */
	/* Whose lease is over and who holds nothing has nothing to come back to. */
	if (r->state != SESSION_CLOSED && r->state != SESSION_DEAD && !session->reclaiming &&
		session->lease.state < LEASE_EXPIRED)
		return;
	sessions_remove(s->records, session->slot);
	session->used = false;
}

void session_close(struct server *s, struct session *session)
{
	sessions_set_state(
		s->records, session->slot, SESSION_CLOSED, HOLDER_CLOSED, clock_real_ns());
	session_forget_if_done(s, session);
}

static bool just_restarted(const struct server *s, uint64_t now_ns)
{
	return now_ns - s->started_boot_ns < s->terms.ttl_ns;
}

/*
 * Is the holder of a detached session provably gone? As of the last tick: time since then may be one in
 * which we stood still, and only a tick excuses everybody for that.
 */
static void judge(struct server *s, struct session *session)
{
	const uint64_t now_ns = s->stall_guard.last_ns;
	const struct session_record *r = session_record(s, session);
	bool expired = session->lease.state >= LEASE_EXPIRED;
	struct holder_facts facts = {
		.connected = session->connection != NULL,
		.lease_expired = expired,
		.expired_for_ns = expired ? now_ns - session->lease.seen_ns - s->terms.ttl_ns : 0,
		.grace_ns = s->terms.ttl_ns,
		.server_just_restarted = just_restarted(s, now_ns),
	};
	enum holder_evidence evidence;

	if (r->state != SESSION_DETACHED)
		return;
	facts.process = identity_probe(&r->identity); /* system calls: only where it matters */
	evidence = holder_judge(&facts);
	if (evidence == HOLDER_NO_EVIDENCE)
		return;
	log_info("session of %s[%u] on %s is dead (%s): %u blocks left", r->identity.exe,
		r->identity.pid, r->identity.host, holder_evidence_text(evidence),
		ledger_session_count(s->pool.ledger, session->slot));
	sessions_set_state(s->records, session->slot, SESSION_DEAD, evidence, clock_real_ns());
	session_forget_if_done(s, session);
}

void session_judge_all(struct server *s)
{
	uint32_t cursor = 0, slot;

	while (sessions_next(s->records, &cursor, &slot))
		judge(s, &s->sessions[slot]);
}

void session_detach(struct server *s, struct session *session)
{
	struct session_record *r = session_record(s, session);

	session->connection = NULL;
	if (r->state == SESSION_CONNECTED) {
		sessions_set_state(s->records, session->slot, SESSION_DETACHED, HOLDER_NO_EVIDENCE,
			clock_real_ns());
		judge(s, session);
	}
	session_forget_if_done(s, session);
}

static void expired(struct server *s, struct session *session)
{
	struct session_record *r = session_record(s, session);

	r->expired_ns = clock_real_ns();
	s->counters.expiries++;
	log_info("lease of %s[%u] on %s expired: access revoked, %u blocks kept", r->identity.exe,
		r->identity.pid, r->identity.host,
		ledger_session_count(s->pool.ledger, session->slot));
	if (session->connection)
		connection_abort(session->connection, "its lease expired");
	else
		session_forget_if_done(s, session);
}

static void tick(struct server *s, struct session *session, uint64_t now_ns)
{
	struct session_record *r = session_record(s, session);

	if (session->connection &&
		lease_observe(&session->lease, *session_board(s, session), now_ns))
		r->seen_ns = clock_real_ns();
	if (!lease_step(&session->lease, &s->terms, now_ns))
		return;
	if (session->lease.state == LEASE_EXPIRED)
		expired(s, session);
}

void session_tick_all(struct server *s, uint64_t now_ns)
{
	uint64_t gap_ns = stall_guard_tick(&s->stall_guard, now_ns);
	uint32_t cursor = 0, slot;

	if (gap_ns) {
		s->counters.stalls++;
		s->counters.stalled_ns += gap_ns;
		/* A busy machine does this all the time; a quarter of a lease is worth a line. */
		log_at(gap_ns > s->terms.ttl_ns / 4 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
			"rmemd itself stood still for %u ms: no lease is charged for that",
			(unsigned)(gap_ns / NSEC_PER_MSEC));
	}
	while (sessions_next(s->records, &cursor, &slot)) {
		struct session *session = &s->sessions[slot];

		lease_excuse(&session->lease, gap_ns);
		if (session->connection || session_record(s, session)->state == SESSION_DETACHED)
			tick(s, session, now_ns);
	}
}
