/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/reaper.h"

#include <errno.h>
#include <limits.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "server/grant/access.h"
#include "server/net/connection.h"
#include "server/lease/relief.h"
#include "server/lease/session.h"

/* One slice: about a millisecond of work natively, so that no client waits long for its turn. */
#define REVOKES_PER_SLICE 64
#define RECLAIMS_PER_SLICE 256
#define WIPE_BYTES_PER_SLICE (8ULL << 20)

/*
 * A timer that is over at once, not event_active(): an event that activates itself runs again before
 * the loop looks at anything else, and a slice would be no slice.
 */
void reaper_wake(struct server *s)
{
	static const struct timeval at_once;

	if (event_add(s->reaper_event, &at_once))
		log_error("no memory to wake the reaper: the next tick does");
}

/* Unless it comes round earlier anyway. */
static void wake_at(struct server *s, uint64_t at_ns)
{
	const uint64_t now_ns = clock_boot_ns();
	struct timeval wait;

	if (at_ns <= now_ns || event_pending(s->reaper_event, EV_TIMEOUT, NULL))
		return;
	wait.tv_sec = (time_t)((at_ns - now_ns) / NSEC_PER_SEC);
	wait.tv_usec = (suseconds_t)((at_ns - now_ns) % NSEC_PER_SEC / NSEC_PER_USEC + 1);
	(void)event_add(s->reaper_event, &wait); /* else the next tick does */
}

void reaper_finish_connection(struct server *s, struct connection *c)
{
	unsigned all;

	(void)s;
	do
		all = UINT_MAX;
	while (!connection_reap(c, &all));
}

void reaper_reclaim(struct server *s, struct session *session, const char *why)
{
	const struct session_record *r = session_record(s, session);
	uint32_t blocks = ledger_session_count(s->pool.ledger, session->slot);
	char bytes[UNITS_TEXT_SIZE];

	if (session->reclaiming || session->nconnections)
		return;
	/* Their record ends with it: the log is what is left to look for them in. */
	if (blocks)
		log_warn("%s: taking back %s in %u blocks of %s[%u] on %s (%s)", why,
			units_format_bytes(ledger_session_bytes(s->pool.ledger, session->slot),
				bytes, sizeof(bytes)),
			blocks, r->identity.exe, r->identity.pid, r->identity.host,
			session_state_name(r->state));
	session->reclaiming = true;
	s->nreclaiming++;
	reaper_wake(s);
}

/* Take back a slice of what a session holds. It has no connection, but others may have been given access. */
static bool reclaim_slice(struct server *s, struct session *session, unsigned *budget)
{
	const struct allocation *a = ledger_next_of_session(s->pool.ledger, session->slot, NULL);

	while (a && *budget) {
		const struct allocation *next =
			ledger_next_of_session(s->pool.ledger, session->slot, a);
		unsigned ends;

		/* Those that are on their way, or never will be, cost nothing: else many zombies would be the end of it. */
		if (a->state == ALLOCATION_LIVE) {
			s->counters.reclaimed_blocks++;
			s->counters.reclaimed_bytes += allocation_block_bytes(a);
			ledger_set_state(s->pool.ledger, a, ALLOCATION_REVOKING);
			ends = access_end_all(s, a) + 1;
			*budget -= ends < *budget ? ends : *budget;
		}
		a = next;
	}
	return a != NULL;
}

static bool reclaim_all(struct server *s)
{
	unsigned budget = RECLAIMS_PER_SLICE;
	uint32_t cursor = 0, slot;
	bool more = false;

	while (budget && sessions_next(s->records, &cursor, &slot)) {
		struct session *session = &s->sessions[slot];

		if (!session->reclaiming || session->reclaimed)
			continue;
		session->reclaimed = !reclaim_slice(s, session, &budget);
		s->nreclaiming -= session->reclaimed;
		more |= !session->reclaimed;
	}
	return more || !budget; /* there may be others behind */
}

/* Forget every session that is over and holds nothing. Its last block may have been wiped after its goodbye, just now. */
static void forget_sessions(struct server *s)
{
	uint32_t cursor = 0, slot;

	while (sessions_next(s->records, &cursor, &slot))
		session_forget_if_done(s, &s->sessions[slot]);
}

static void slice(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	unsigned revokes = REVOKES_PER_SLICE, ends = REVOKES_PER_SLICE;
	struct connection *c = s->dying;
	bool more;

	(void)fd;
	(void)what;
	while (c && revokes) {
		struct connection *next = c->next;

		if (!c->resting)
			connection_reap(c, &revokes);
		c = next;
	}
	more = c || !revokes;
	more |= reclaim_all(s);
	more |= access_end_some(s, &ends);
	more |= pool_wipe(&s->pool, WIPE_BYTES_PER_SLICE);
	if (!more)
		forget_sessions(s);
	if (s->room) {
		relief_survey(s);
		wait_finish(&s->room, 0);
	}
	if (more)
		reaper_wake(s);
	else if (s->room)
		wake_at(s, relief_next_ns(s));
}

int reaper_start(struct server *s)
{
	s->reaper_event = evtimer_new(s->base, slice, s);
	return s->reaper_event ? 0 : -ENOMEM;
}

void reaper_stop(struct server *s)
{
	if (s->reaper_event)
		event_free(s->reaper_event);
	s->reaper_event = NULL;
}

void reaper_tick(struct server *s, uint64_t now_ns)
{
	uint32_t cursor = 0, slot;
	struct session_record *r;
	struct connection *c;

	/* A slice does so only when no work is left, which clients that free all the time can prevent. */
	forget_sessions(s);
	DL_FOREACH (s->dying, c)
		c->resting = false;
	if (s->dying || s->room)
		reaper_wake(s);
	if (s->options.reclaim == RECLAIM_NEVER)
		return;
	while ((r = sessions_next(s->records, &cursor, &slot))) {
		struct session *session = &s->sessions[slot];
		bool gone = r->state == SESSION_CLOSED || r->state == SESSION_DEAD;
		uint64_t gone_ns = now_ns > r->state_since_ns ? now_ns - r->state_since_ns : 0;

		if (session->nconnections)
			continue;
		if ((r->state == SESSION_DETACHED && session->lease.state == LEASE_LAPSED) ||
			(gone && gone_ns >= s->terms.courtesy_ns))
			reaper_reclaim(s, session, "its courtesy is over");
		else if (gone && s->options.reclaim == RECLAIM_AFTER &&
			 gone_ns >= s->options.reclaim_ms * NSEC_PER_MSEC)
			reaper_reclaim(s, session, "gone for as long as --reclaim says");
	}
}
