/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/finding.h"

#include "server/ledger/sessions.h"

uint64_t audit_journal_age_ns(const struct audit_holder_state *h, uint64_t now_ns)
{
	uint64_t end_ns = h->state == SESSION_CONNECTED ? now_ns : h->since_ns;

	/* A lease that is over has ended all access. */
	if (h->expired_ns && h->expired_ns < end_ns)
		end_ns = h->expired_ns;
	return end_ns > h->journaled_ns ? end_ns - h->journaled_ns : 0;
}

const char *audit_kind_name(enum audit_kind kind)
{
	static const char *const names[AUDIT_KINDS] = {
		[AUDIT_DEFINITE] = "definite",
		[AUDIT_INDIRECT] = "indirect",
		[AUDIT_POSSIBLE] = "possible",
		[AUDIT_IDLE] = "idle",
		[AUDIT_REACHABLE] = "reachable",
		[AUDIT_LIMBO] = "limbo",
		[AUDIT_ZOMBIE] = "zombie",
		[AUDIT_SUPPRESSED] = "suppressed",
	};

	return (unsigned)kind < AUDIT_KINDS ? names[kind] : "unknown";
}
