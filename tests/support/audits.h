/* SPDX-License-Identifier: BSD-3-Clause */
/* Audits of a ledger that does not change meanwhile, in one go. */
#ifndef RMEM_TESTS_SUPPORT_AUDITS_H
#define RMEM_TESTS_SUPPORT_AUDITS_H

#include "server/audit/audit.h"

/* The records of a slab's objects; NULL: they are not read. */
typedef const uint64_t *audit_words_fn(const struct allocation *slab);

/* ledger: the input's. As server/audit/pass.c does it, in one thread. words may be NULL. 0, or -ENOMEM. */
static inline int audit_whole_with(struct ledger *ledger, const struct audit_input *in,
	const struct audit_scan *previous, enum audit_depth depth, audit_words_fn *words,
	struct audit_scan **out_scan, struct audit_result **out_result)
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
	while ((n = ledger_next_of_snapshot(ledger, slots, records, 1024)) > 0) {
		if (!words)
			audit_add(audit, slots, records, n);
		for (size_t i = 0; words && i < n; i++)
			audit_add_slab(audit, slots[i], &records[i],
				records[i].size_class ? words(&records[i]) : NULL);
	}
	(void)ledger_end_snapshot(ledger);
	return audit_end(audit, out_scan, out_result);
}

static inline int audit_whole(struct ledger *ledger, const struct audit_input *in,
	const struct audit_scan *previous, enum audit_depth depth, struct audit_scan **out_scan,
	struct audit_result **out_result)
{
	return audit_whole_with(ledger, in, previous, depth, NULL, out_scan, out_result);
}

#endif
