/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The answers of docs/ADMIN.md as JSON, made from a report_view. Knows nothing of verbs, sockets or the event loop:
 * the same view gives the same bytes, and a test needs no server.
 *
 * A report of bounded size is made at once, a report with a list in pieces (server/admin/report_pieces.h).
 * Every function returns a new reference or report, or NULL if memory runs out.
 */
#ifndef RMEM_SERVER_ADMIN_REPORT_H
#define RMEM_SERVER_ADMIN_REPORT_H

#include <jansson.h>
#include <stdint.h>

#include "server/admin/report_pieces.h"
#include "server/admin/report_view.h"

#define REPORT_MAP_LIMIT 1000      /* blocks, when the request names no limit */
#define REPORT_MAP_MAX 65536       /* upper bound of limit: the answer is kept in memory */
#define REPORT_RECLAIMED_LIMIT 256 /* lines, when the request names no limit */

json_t *report_status(const struct report_view *view);

/* Per node: where memory was wanted and lent; and the free pieces of each order. */
json_t *report_numastat(const struct report_view *view);
json_t *report_buddyinfo(const struct report_view *view);

/* By bytes held, descending. A session that ends before its turn is left out. */
struct report *report_sessions(const struct report_view *view);

/* Ages are as of the audit. result must outlive the report. made_now: it was made for this request; else it is an earlier one. */
struct report *report_leaks(
	const struct report_view *view, const struct audit_result *result, bool made_now);

/* The same without records: what the audit found in sum. */
json_t *report_audit(const struct report_view *view, const struct audit_result *result);

/* What the audit found in slabs, by size class; classes without slabs are left out. */
json_t *report_slabinfo(const struct report_view *view, const struct audit_result *result);

/* What an order takes away, in sum and for the first sessions. */
#define REPORT_LOSERS_MAX 16
struct report_loss {
	uint64_t sessions;
	struct ledger_share all;
	struct {
		uint32_t slot;
		struct ledger_share share;
	} losers[REPORT_LOSERS_MAX];
	size_t nlosers;
	const struct allocation *allocation; /* all that is taken; or NULL */
};

/* What resizing comes to. in_the_way: the blocks in segments that would have to be empty. */
struct growth_outcome;
json_t *report_resize(const struct report_view *view, const struct growth_outcome *outcome,
	const struct report_loss *in_the_way);

/* preview: it would be taken away. */
json_t *report_loss(const struct report_view *view, const char *name, bool preview,
	const struct report_loss *loss);

json_t *report_log_level(const struct report_view *view, const char *level, const char *was);

/* The newest lines of history, at most limit, and the number of all lines. */
struct report *report_reclaimed(const struct report_view *view, uint64_t limit);

/* The first limit blocks, by address. node < 0: of all nodes. */
struct report *report_map(const struct report_view *view, uint64_t limit, int node);

/* An error answer if no allocation contains addr. */
json_t *report_who_holds(const struct report_view *view, uint64_t addr);

/* err: an errno, of either sign. */
json_t *report_error(int err, const char *message);

#endif
