/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/fairness.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/size_class.h"
#include "server/grant/grant.h"
#include "tests/sim/chance.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/rooms.h"
#include "tests/sim/trace.h"

void fairness_choose(void)
{
	struct quota_rules *rules = &rooms.options.quotas;

	*rules = (struct quota_rules){ .nnamed = 0 };
	if (chance_in(2))
		return;
	if (chance_in(2))
		rules->session.most[QUOTA_BYTES] = (2 + chance_below(8)) * PAGE_BYTES;
	if (chance_in(2))
		rules->session.most[QUOTA_OBJECTS] = 2 + chance_below(600);
	if (chance_in(2))
		rules->session.most[QUOTA_WINDOWS] = 1 + chance_below(4);
	if (chance_in(2))
		rules->job.most[QUOTA_BYTES] = (2 + chance_below(12)) * PAGE_BYTES;
	if (chance_in(2))
		rules->job.most[QUOTA_BLOCKS] = 1 + chance_below(6);
}

static void tally(uint64_t has[QUOTA_KINDS], const struct allocation *a)
{
	has[QUOTA_BYTES] += (a->bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	has[QUOTA_BLOCKS]++;
	has[QUOTA_OBJECTS] += a->size_class ? slab_slots(a->size_class, a->bytes) : 1;
}

static bool is_of_job(const struct session_record *r, const struct identity *who)
{
	return who->job[0] && r->identity.uid == who->uid && strcmp(r->identity.job, who->job) == 0;
}

/* What a session, or all of its job, has. */
static void count(const struct session_record *of, bool job, bool coming, uint64_t has[QUOTA_KINDS])
{
	const struct allocation *a;
	uint32_t cursor = 0;

	memset(has, 0, QUOTA_KINDS * sizeof(has[0]));
	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		const struct session_record *r = sessions_get(rooms.leases.records, a->session);
		const bool comes =
			a->state == ALLOCATION_REVOKING || a->state == ALLOCATION_QUARANTINE;

		if (!r || r->serial != a->session_serial || (comes && !coming))
			continue;
		if (job ? is_of_job(r, &of->identity) : r == of)
			tally(has, a);
	}
}

static bool fits(const struct quota *quota, const uint64_t has[QUOTA_KINDS])
{
	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
		if (has[kind] > quota_limit(quota, (enum quota_kind)kind))
			return false;
	return true;
}

static uint64_t count_windows(const struct grantee *grantee)
{
	const struct grant *g;
	uint64_t n = 0;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (!links[i].c || links[i].c->grantee != grantee)
			continue;
		DL_FOREACH (links[i].c->grants, g)
			n += g->allocation != NULL;
	}
	return n;
}

void fairness_check(void)
{
	const struct quota_rules *rules = &rooms.options.quotas;
	const struct session_record *r;
	uint64_t has[QUOTA_KINDS];
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(rooms.leases.records, &cursor, &slot)) != NULL) {
		const struct grantee *grantee = &rooms.leases.sessions[slot].grantee;

		count(r, false, true, has);
		has[QUOTA_WINDOWS] = count_windows(grantee);
		trace_require(fits(&rules->session, has),
			"session in slot %u: it has more than its quota: %" PRIu64
			" bytes, %" PRIu64 " windows",
			slot, has[QUOTA_BYTES], has[QUOTA_WINDOWS]);
		trace_require(grantee->nwindows == has[QUOTA_WINDOWS],
			"session in slot %u: %" PRIu64 " windows, counted %u", slot,
			has[QUOTA_WINDOWS], grantee->nwindows);
		count(r, true, true, has);
		trace_require(fits(&rules->job, has),
			"job %s of uid %u: it has more than its quota: %" PRIu64 " bytes, %" PRIu64
			" blocks",
			r->identity.job, r->identity.uid, has[QUOTA_BYTES], has[QUOTA_BLOCKS]);
	}
}

static const struct session_record *record_of(const struct owner *o)
{
	uint32_t slot;

	return o && sessions_find(rooms.leases.records, o->id, &slot) == 0
		       ? sessions_get(rooms.leases.records, slot)
		       : NULL;
}

bool fairness_allows(const struct owner *o, const struct allocation *wanted,
	const struct owner *giver, bool when_back)
{
	const struct quota_rules *rules = &rooms.options.quotas;
	const struct session_record *r = record_of(o), *from = record_of(giver);
	uint64_t has[QUOTA_KINDS];

	if (!r)
		return false;
	count(r, false, !when_back, has);
	tally(has, wanted);
	if (!fits(&rules->session, has))
		return false;
	if (!r->identity.job[0] || (from && is_of_job(from, &r->identity)))
		return true;
	count(r, true, !when_back, has);
	tally(has, wanted);
	return fits(&rules->job, has);
}
