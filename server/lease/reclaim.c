/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/reclaim.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/lease/session.h"

#define RECLAIMS_PER_SLICE 256

void reclaim_session(struct reclaim *r, struct session *session, const char *why)
{
	const struct session_record *record = session_record(session);
	struct leases *l = r->leases;
	uint32_t blocks = ledger_session_count(l->pool->ledger, session->grantee.slot);
	char bytes[UNITS_TEXT_SIZE];

	if (session->reclaiming || session->nconnections)
		return;
	/* Their record ends with it: the log is what is left to look for them in. */
	if (blocks)
		log_warn("%s: taking back %s in %u blocks of %s[%u] on %s (%s)", why,
			units_format_bytes(
				ledger_session_bytes(l->pool->ledger, session->grantee.slot), bytes,
				sizeof(bytes)),
			blocks, record->identity.exe, record->identity.pid, record->identity.host,
			session_state_name(record->state));
	session->reclaiming = true;
	l->nreclaiming++;
	work_wake(r->work);
}

/* Take back a slice of what a session holds. It has no connection, but others may have been given access. */
static bool reclaim_slice(struct reclaim *r, struct session *session, unsigned *budget)
{
	struct leases *l = r->leases;
	const struct allocation *a =
		ledger_next_of_session(l->pool->ledger, session->grantee.slot, NULL);

	while (a && *budget) {
		const struct allocation *next =
			ledger_next_of_session(l->pool->ledger, session->grantee.slot, a);
		unsigned ends;

		/* Only LIVE blocks use budget: otherwise zombies would starve the slice. */
		if (a->state == ALLOCATION_LIVE) {
			r->blocks++;
			r->bytes += allocation_block_bytes(a);
			ledger_set_state(l->pool->ledger, a, ALLOCATION_REVOKING);
			ends = access_end_all(r->access, a) + 1;
			*budget -= ends < *budget ? ends : *budget;
		}
		a = next;
	}
	return a != NULL;
}

bool reclaim_some(struct reclaim *r)
{
	struct leases *l = r->leases;
	unsigned budget = RECLAIMS_PER_SLICE;
	uint32_t cursor = 0, slot;
	bool more = false;

	while (budget && sessions_next(l->records, &cursor, &slot)) {
		struct session *session = &l->sessions[slot];

		if (!session->reclaiming || session->reclaimed)
			continue;
		session->reclaimed = !reclaim_slice(r, session, &budget);
		l->nreclaiming -= session->reclaimed;
		more |= !session->reclaimed;
	}
	return more || !budget; /* there may be others behind */
}

void reclaim_tick(struct reclaim *r, uint64_t now_ns)
{
	struct leases *l = r->leases;
	struct session_record *record;
	uint32_t cursor = 0, slot;

	if (l->options->reclaim == RECLAIM_NEVER)
		return;
	while ((record = sessions_next(l->records, &cursor, &slot))) {
		struct session *session = &l->sessions[slot];
		bool gone = record->state == SESSION_CLOSED || record->state == SESSION_DEAD;
		uint64_t gone_ns =
			now_ns > record->state_since_ns ? now_ns - record->state_since_ns : 0;

		if (session->nconnections)
			continue;
		if ((record->state == SESSION_DETACHED && session->lease.state == LEASE_LAPSED) ||
			(gone && gone_ns >= l->terms.courtesy_ns))
			reclaim_session(r, session, "its courtesy is over");
		else if (gone && l->options->reclaim == RECLAIM_AFTER &&
			 gone_ns >= l->options->reclaim_ms * NSEC_PER_MSEC)
			reclaim_session(r, session, "gone for as long as --reclaim says");
	}
}
