/* SPDX-License-Identifier: BSD-3-Clause */
/* Audits of a ledger that does not change meanwhile, in one go. */
#ifndef RMEM_TESTS_SUPPORT_AUDITS_H
#define RMEM_TESTS_SUPPORT_AUDITS_H

#include "server/audit/audit.h"

/* ledger: the input's. As server/audit/pass.c does it, in one thread. 0, or -ENOMEM. */
static inline int audit_whole(struct ledger *ledger, const struct audit_input *in,
	const struct audit_scan *previous, enum audit_depth depth, struct audit_scan **out_scan,
	struct audit_result **out_result)
{
	static struct allocation records[1024];
	static uint32_t slots[1024];
	struct audit *audit;
	size_t n;
	int err = audit_begin(in, previous, depth, &audit);

	if (!err && (err = ledger_begin_snapshot(ledger)) != 0)
		audit_abandon(audit);
	if (err)
		return err;
	while ((n = ledger_next_of_snapshot(ledger, slots, records, 1024)) > 0)
		audit_add(audit, slots, records, n);
	(void)ledger_end_snapshot(ledger);
	return audit_end(audit, out_scan, out_result);
}

#endif
