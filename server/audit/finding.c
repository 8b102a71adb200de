/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/finding.h"

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
